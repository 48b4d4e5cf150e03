// The search box: classes, layers and features by name, with the keyboard or the pointer.

const MAX_FOUND = 12;

function findClasses(text) {
  const wanted = text.toLowerCase();
  const found = [];
  run.classNames.forEach((name, id) => {
    const at = name.toLowerCase().indexOf(wanted);
    if (at >= 0) found.push({ id, text: name, kind: "class", to: address.class(id), rank: at === 0 ? 0 : 1 });
  });
  return found.sort((a, b) => a.rank - b.rank).slice(0, MAX_FOUND);
}

function findLayers(text) {
  const wanted = text.toLowerCase();
  return run.layers
    .filter((layer) => layer.name.toLowerCase().includes(wanted))
    .slice(0, MAX_FOUND)
    .map((layer) => ({ text: layer.name, kind: "layer", to: address.layer(layer.name) }));
}

/** "conv4_3/458", or only a part of the layer's name before the slash. */
function findFeatures(text) {
  const parts = /^(.*)\/\s*(\d+)$/s.exec(text.trim());
  if (!parts) return [];
  const [wanted, unit] = [parts[1].trim().toLowerCase(), Number(parts[2])];
  return run.layers
    .filter((layer) => layer.name.toLowerCase().includes(wanted))
    .map((layer) => featureId(layer, unit))
    .filter((id) => id !== null)
    .sort((a, b) => (feature(b).layer.name.toLowerCase() === wanted) - (feature(a).layer.name.toLowerCase() === wanted))
    .slice(0, MAX_FOUND)
    .map((id) => ({ text: feature(id).label, kind: "feature", to: address.feature(id) }));
}

const findAll = (text) => [...findFeatures(text), ...findClasses(text).slice(0, 8), ...findLayers(text).slice(0, 6)].slice(0, MAX_FOUND);

let comboboxes = 0;

/**
 * A text box with a list of what matches.
 *   find    text → [{ text, kind, … }]
 *   choose  called with the one chosen
 *   clear   whether the box is emptied then
 */
function combobox({ label, find, choose, clear = false, id = `combobox-${++comboboxes}` }) {
  const list = el("ul", { role: "listbox", id: `${id}-list`, class: "found", "aria-label": label, hidden: true });
  const input = el("input", {
    type: "search", id, placeholder: label, "aria-label": label, autocomplete: "off", spellcheck: "false", role: "combobox",
    "aria-expanded": "false", "aria-controls": `${id}-list`, "aria-autocomplete": "list",
    oninput: () => look(), onfocus: () => look(), onkeydown: onKey, onblur: () => setTimeout(close, 150),
  });
  let found = [];
  let active = -1;

  function look() {
    const text = input.value.trim();
    found = text ? find(text) : [];
    active = found.length ? 0 : -1;
    list.replaceChildren(...found.map((item, i) => el("li", {
      role: "option", id: `${id}-${i}`, onpointerdown: (event) => { event.preventDefault(); take(i); },
    }, el("span", {}, shorten(item.text, 70)), el("small", {}, item.kind))));
    if (text && !found.length) list.append(el("li", { class: "nothing" }, "no match"));
    list.hidden = !text;
    input.setAttribute("aria-expanded", String(!list.hidden));
    mark();
  }

  function mark() {
    [...list.children].forEach((item, i) => item.setAttribute("aria-selected", String(i === active)));
    if (active < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", `${id}-${active}`);
      list.children[active].scrollIntoView({ block: "nearest" });
    }
  }

  function onKey(event) {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) look();
      if (found.length) active = (active + (event.key === "ArrowDown" ? 1 : found.length - 1)) % found.length;
      mark();
    } else if (event.key === "Enter" && active >= 0) {
      event.preventDefault();
      take(active);
    } else if (event.key === "Escape") {
      close();
    }
  }

  function take(i) {
    const item = found[i];
    if (clear) input.value = "";
    close();
    choose(item);
  }

  function close() {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
  }

  return el("div", { class: "combobox" }, input, list);
}

function searchBox() {
  const box = combobox({
    label: "Class, layer or layer/unit", find: findAll, clear: true, id: "search",
    choose: (item) => { location.hash = item.to; },
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
    event.preventDefault();
    box.querySelector("input").focus();
  });
  return box;
}
