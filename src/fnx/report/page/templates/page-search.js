// The search box: classes, layers and features by name, with the keyboard or the pointer.

const MAX_FOUND = 12;

function findClasses(text) {
  const wanted = text.toLowerCase();
  return run.classNames
    .map((text, id) => ({ id, text, kind: "class", to: address.class(id), at: text.toLowerCase().indexOf(wanted) }))
    .filter(({ at }) => at >= 0)
    .sort((a, b) => (a.at > 0) - (b.at > 0))
    .slice(0, MAX_FOUND);
}

const layersNamed = (text) => run.layers.filter(({ name }) => name.toLowerCase().includes(text.toLowerCase()));
const findLayers = (text) => layersNamed(text).map(({ name }) => ({ text: name, kind: "layer", to: address.layer(name) }));

/** "conv4_3/458", or only a part of the layer's name before the slash. */
function findFeatures(text) {
  const parts = /^(.*)\/\s*(\d+)$/s.exec(text.trim());
  if (!parts) return [];
  const wanted = parts[1].trim();
  const exact = (id) => feature(id).layer.name.toLowerCase() === wanted.toLowerCase();
  return layersNamed(wanted)
    .map((layer) => featureId(layer, Number(parts[2])))
    .filter((id) => id !== null)
    .sort((a, b) => exact(b) - exact(a))
    .slice(0, MAX_FOUND)
    .map((id) => ({ text: feature(id).label, kind: "feature", to: address.feature(id) }));
}

const findAll = (text) => [...findFeatures(text), ...findClasses(text).slice(0, 8), ...findLayers(text).slice(0, 6)].slice(0, MAX_FOUND);

let comboboxes = 0;

/**
 * A text box with a list of what matches; it is emptied when one is chosen.
 *   find    text → [{ text, kind, … }]
 *   choose  called with the one chosen
 */
function combobox({ label, find, choose, id = `combobox-${++comboboxes}` }) {
  const list = el("ul", { role: "listbox", id: `${id}-list`, class: "found", "aria-label": label, hidden: true });
  const input = el("input", {
    type: "search", id, placeholder: label, "aria-label": label, autocomplete: "off", spellcheck: "false", role: "combobox",
    "aria-expanded": "false", "aria-controls": `${id}-list`, "aria-autocomplete": "list",
    oninput: look, onfocus: look, onkeydown: onKey, onblur: () => setTimeout(close, 150),
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
    input.value = "";
    close();
    choose(found[i]);
  }

  function close() {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
  }

  return el("div", { class: "combobox" }, input, list);
}

function searchBox() {
  const box = combobox({
    label: "Class, layer or layer/unit", find: findAll, id: "search", choose: (item) => { location.hash = item.to; },
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
    event.preventDefault();
    box.querySelector("input").focus();
  });
  return box;
}
