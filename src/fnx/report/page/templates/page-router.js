// Which view an address names: #/class/3, #/layer/conv5_1, #/feature/conv5_1/17; else the front page.

const front = document.getElementById("front");
const stage = document.getElementById("view");
const frontTitle = document.title;
let turn = 0;

/** The frame of a view: where one is, its name, and the way to its neighbours: place of count, to(place) an address. */
function view({ kicker, title, code = false, place = 0, count = 1, to = null }, ...children) {
  const step = (other, text, rel) => (other >= 0 && other < count ? el("a", { href: to(other), rel }, text) : el("span", { "aria-disabled": "true" }, text));
  return { title, node: el("div", {},
    el("p", { class: "steps" }, el("a", { href: "#answer" }, "← The whole run"),
      el("span", {}, step(place - 1, "‹ Previous", "prev"), " ", step(place + 1, "Next ›", "next"))),
    el("p", { class: "kicker" }, kicker), el("h1", { tabindex: "-1" }, code ? el("code", {}, title) : title), ...children) };
}

const decoded = (part) => { try { return decodeURIComponent(part); } catch { return part; } };
const whole = (text) => (/^\d+$/.test(text) ? Number(text) : NaN);

function unknown(text, ...more) {
  return view({ kicker: "Not found", title: "Not in this run" }, el("p", { class: "lead" }, text), ...more,
    el("p", {}, "The search box finds every class, layer and feature of this run."));
}

/** The view of an address; a promise, for its numbers come from the disk. */
async function viewOf(path) {
  const [kind, ...parts] = path.split("/");
  const rest = parts.join("/");
  if (kind === "class") {
    const both = /^(\d+)\/against\/(\d+)$/.exec(rest)?.slice(1).map(Number);
    if (both && both.every((id) => id < N_CLASSES) && both[0] !== both[1]) return againstView(...both);
    const id = whole(rest) < N_CLASSES ? whole(rest) : run.classNames.indexOf(decoded(rest));
    if (id >= 0) return classView(id);
    return unknown(`There is no class ${shorten(decoded(rest), 80)} in this run: its ${number(N_CLASSES)} classes have the numbers 0 to ${number(N_CLASSES - 1)}.`);
  }
  if (kind === "layer") {
    const i = layerIndex.get(decoded(rest));
    if (i !== undefined) return layerView(i);
    return unknown(`There is no layer ${shorten(decoded(rest), 80)} in this run.`);
  }
  if (kind === "feature") {
    const unit = parts.pop();
    const layer = run.layers[layerIndex.get(decoded(parts.join("/")))];
    if (!layer) return unknown(`There is no feature ${shorten(decoded(rest), 80)} in this run: an address ends with /feature/layer/unit.`);
    const id = featureId(layer, whole(unit));
    if (id !== null) return featureView(id);
    return unknown(`Layer ${layer.name} has no unit ${shorten(decoded(unit), 20)}: it has ${number(layer.size)}.`, el("p", {}, layerLink(layer)));
  }
  return unknown(`This page has no address ${shorten(path, 80)}.`);
}

function clearStage() {
  for (const plot of stage.querySelectorAll(".js-plotly-plot")) Plotly.purge(plot);
  stage.replaceChildren();
}

async function route({ y = null } = {}) {
  const mine = ++turn;
  const hash = location.hash;
  if (!hash.startsWith("#/")) {
    const arriving = front.hidden;
    clearStage();
    stage.hidden = true;
    front.hidden = false;
    document.title = frontTitle;
    const target = document.getElementById(decoded(hash.slice(1)));
    if (y === null && target) target.scrollIntoView({ behavior: arriving ? "instant" : "auto" });
    else scrollTo({ top: y ?? 0, behavior: "instant" });
    return;
  }
  front.hidden = true;
  stage.hidden = false;
  stage.setAttribute("aria-busy", "true");
  if (!stage.firstChild) stage.append(el("p", { class: "waiting", role: "status" }, "Loading …"));
  const shown = await viewOf(hash.slice(2)).catch((error) => view({ kicker: "Not loaded", title: "These numbers could not be loaded" }, el("p", { class: "lead" }, error.message)));
  if (mine !== turn) return;
  clearStage();
  stage.append(shown.node);
  stage.removeAttribute("aria-busy");
  document.title = `${shown.title} · ${frontTitle}`;
  scrollTo({ top: y ?? 0, behavior: "instant" });
  stage.querySelector("h1").focus({ preventScroll: true });
}

// The back button restores the scroll position: the browser itself cannot, for a view is complete
// only once its numbers are loaded.
history.scrollRestoration = "manual";
const remember = () => history.replaceState({ y: scrollY }, "");
let resting;
addEventListener("scroll", () => { clearTimeout(resting); resting = setTimeout(remember, 200); }, { passive: true });
document.addEventListener("click", (event) => {
  if (event.target.closest?.("a[href^='#']")) { clearTimeout(resting); remember(); }
}, { capture: true });
addEventListener("popstate", (event) => { clearTimeout(resting); route({ y: event.state?.y ?? null }); });
