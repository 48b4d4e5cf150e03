// Building blocks of the page: elements, numbers for people, addresses, and data from the disk.
// Text from the run only ever becomes a text node or an attribute's value, never markup.

const NUMBERS = { f4: Float32Array, f8: Float64Array, i4: Int32Array, u1: Uint8Array, u2: Uint16Array };

/** A value with all arrays in it that Python packed as base64 of their bytes. */
function unpack(value) {
  if (!value || typeof value !== "object") return value;
  if (!("$" in value)) {
    for (const key of Object.keys(value)) value[key] = unpack(value[key]);
    return value;
  }
  const text = atob(value.b64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new NUMBERS[value.$](bytes.buffer);
}

const run = unpack(JSON.parse(document.getElementById("run-index").textContent));
const SIGNS = run.signed ? ["+", "-"] : ["+"];
const WORDS = run.signed ? { "+": "by presence", "-": "by absence" } : { "+": "by distance" };
const COLOUR = { "+": "presence", "-": "absence" };
const POWER = { "+": "⁺", "-": "⁻" };
const RELATION = { "+": "D > x", "-": "D < x" };
const SIDE = { "+": 1, "-": -1 };
const REACH = run.range[1] - run.neutral; // how far distances go to each side

/** Where a curve of a sign is counted, x away from the neutral value. */
const placed = (x, sign) => run.neutral + SIDE[sign] * x;

/** An element with attributes ("on…" are listeners) and children (strings become text). */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== false));
  return node;
}

/** A number as the rest of the page writes it: thousands apart, a true minus. */
function number(value, digits = 0) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  return value
    .toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })
    .replace("-", "−");
}

const narrow = () => innerWidth < 560;
const distance = (value) => number(value, 3);
const percent = (value) => (Number.isNaN(value) ? "–" : `${number(value, 1)} %`);

/** A name of a class cut at its end, for where there is little room. */
function clip(text, limit) {
  const points = [...text];
  return points.length <= limit ? text : `${points.slice(0, limit - 1).join("").trimEnd()}…`;
}

/** Any other long text cut in its middle: layers differ at both ends. */
function shorten(text, limit) {
  const points = [...text];
  if (points.length <= limit) return text;
  const tail = Math.floor((limit - 1) / 2);
  return `${points.slice(0, limit - 1 - tail).join("")}…${points.slice(-tail).join("")}`;
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const range = (count) => Array.from({ length: count }, (_, i) => i);

// ---- what the numbers of a run mean

const N_FEATURES = sum(run.layers.map((layer) => layer.size));
const N_CLASSES = run.classNames.length;
const N_IMAGES = sum(run.classImages);
const layerIndex = new Map(run.layers.map((layer, i) => [layer.name, i]));

/** Layer and unit of a feature id. */
function feature(id) {
  const layer = run.layers.findLast(({ first }) => first <= id);
  const place = id - layer.first;
  const unit = layer.units ? layer.units[place] : place;
  return { layer, unit, label: layer.names ? layer.names[place] : `${layer.name}/${unit}` };
}

/** Id of a unit of a layer, or null where there is none. */
function featureId(layer, unit) {
  const place = layer.units ? layer.units.indexOf(unit) : unit;
  return place >= 0 && place < layer.size ? layer.first + place : null;
}

const limitsOf = (sign) => (sign === "+" ? run.tPlus : run.tMinus);
const keptOf = (sign) => (sign === "+" ? run.keptPlus : run.keptMinus);

/** "+" or "-" where the threshold of a class keeps a distance, else "". */
function keptSign(value, ofClass) {
  if (value > run.tPlus[ofClass]) return "+";
  return run.signed && value < run.tMinus[ofClass] ? "-" : "";
}

/** The threshold of a sign if it is the same for all classes, else null. */
function commonLimit(sign) {
  const limits = limitsOf(sign);
  return limits.every((limit) => limit === limits[0]) ? limits[0] : null;
}

// ---- calibrated distances: D less what random labels alone give a class of its size

let shownDistance = "raw"; // or "calibrated", as the switch says
let moments = null; // of each feature, once a view asked for them

const isCalibrated = () => shownDistance === "calibrated";

/** What of a chunk is shown: its own numbers, or those of calibrated distances in their place. */
const shownOf = (data) => (isCalibrated() ? { ...data, ...data.calibrated } : data);

/** The calibrated distance of a feature and class, NaN where the run has none. */
function calibrated(value, id, ofClass) {
  if (!moments) return NaN;
  const size = value - run.neutral;
  const n = run.classImages[ofClass];
  const noise = moments[id] / ((n * (N_IMAGES - n)) / N_IMAGES);
  return run.neutral + Math.sign(size) * Math.sqrt(Math.max(size * size - noise, 0));
}

/** The distance that the switch asks for. */
const shownValue = (value, id, ofClass) => (isCalibrated() ? calibrated(value, id, ofClass) : value);

/** Load what calibrated distances need; a view that shows them waits for it. */
async function loadMoments() {
  if (run.calibrated && !moments) ({ moments } = await chunk("moments"));
}

/** A part of a page that is made anew when the switch is turned. */
function byDistance(make) {
  const place = el("div", { class: "by-distance" }, make());
  place.renew = () => place.replaceChildren(...[make()].flat());
  return place;
}

/** The switch between raw and calibrated distances: two radio buttons, so that arrow keys turn it. */
function distanceSwitch() {
  const choice = (value, text) => el("label", {},
    el("input", {
      type: "radio", name: "distance", value, checked: value === shownDistance,
      onchange: async () => {
        await loadMoments();
        shownDistance = value;
        for (const part of document.querySelectorAll(".by-distance")) part.renew();
        for (const box of document.querySelectorAll(".chart")) box.redraw();
      },
    }), text);
  return el("fieldset", { id: "distance-switch", title: "Calibrated: D less what random labels alone give a class of its size, so that classes and data sets of different sizes compare. What is kept is decided by raw D." },
    el("legend", {}, "D"), choice("raw", "raw"), choice("calibrated", "calibrated"));
}

// ---- addresses

const address = {
  class: (id) => `#/class/${id}`,
  against: (id, other) => `#/class/${id}/against/${other}`,
  layer: (name) => `#/layer/${encodeURIComponent(name)}`,
  feature: (id) => {
    const { layer, unit } = feature(id);
    return `#/feature/${encodeURIComponent(layer.name)}/${unit}`;
  },
};

const classLink = (id, limit = 80) =>
  el("a", { href: address.class(id), title: run.classNames[id] }, clip(run.classNames[id], limit));
const featureLink = (id) => el("a", { href: address.feature(id) }, code(feature(id).label));
const layerLink = (layer) => el("a", { href: address.layer(layer.name) }, code(layer.name));

/** A name of a layer or feature that may break behind its dots and slashes. */
function code(name) {
  return el("code", {}, name.split(/(?<=[./_])/).flatMap((part) => [part, el("wbr")]));
}

/** Address of a feature's picture, or null where none was made. */
function picture(id) {
  const { layer, unit } = feature(id);
  return layer.pictured?.includes(unit) ? `${layer.pictures}/${unit}.jpg` : null;
}

// ---- data from the disk: without a server a page can load scripts and nothing else

const loading = new Map();
const arrived = new Map();

window.fnxData = (name, value) => arrived.set(name, unpack(value));

/** Load a script of the folder report/ once. */
function script(path) {
  if (!loading.has(path)) {
    loading.set(path, new Promise((resolve, reject) => {
      const failed = () => {
        loading.delete(path);
        reject(new Error(`report/${path} could not be loaded. Is the folder report/ still beside this page?`));
      };
      document.head.append(el("script", { src: `report/${path}`, async: true, onload: resolve, onerror: failed }));
    }));
  }
  return loading.get(path);
}

/** The numbers of a chunk: "figures", "layer-3", "classes-0", "features-12". */
async function chunk(name) {
  if (!arrived.has(name)) await script(`data/${name}.js`);
  return arrived.get(name);
}

const classData = async (id) => (await chunk(`classes-${Math.floor(id / run.classesPerChunk)}`))[id];

/** A feature's distances by class (NaN where the page does not have them) and its random range. */
async function featureData(id) {
  const found = await chunk(`features-${Math.floor(id / run.featuresPerChunk)}`);
  const place = id % run.featuresPerChunk;
  const distances = new Float32Array(N_CLASSES).fill(NaN);
  if (run.whole) distances.set(found.distances.subarray(place * N_CLASSES, (place + 1) * N_CLASSES));
  else found.strongest[place].classes.forEach((ofClass, i) => { distances[ofClass] = found.strongest[place].distances[i]; });
  return {
    distances, random: found.random.subarray(4 * place, 4 * place + 4), constant: found.constant[place],
    values: valuesOf(found, place), top: await topOf(found, place),
  };
}

/** The values of a feature on the images of a class and on all others, or why there are none. */
function valuesOf({ values, noValues }, place) {
  if (!values) return noValues;
  const bins = values.counts.length / values.of.length / 2;
  const [low, high] = values.ends.subarray(2 * place, 2 * place + 2);
  const [inner, outer] = [0, 1].map((side) => values.counts.subarray((2 * place + side) * bins, (2 * place + side + 1) * bins));
  return { ofClass: values.of[place], edges: range(bins + 1).map((i) => low + ((high - low) * i) / bins), inner, outer };
}

/** The images, or rows of an array, on which a feature is highest: value, name and class. */
async function topOf({ top, constant }, place) {
  if (!top) return [];
  const { names, classes } = await chunk("images");
  const count = top.ids.length / constant.length;
  return range(count).map((i) => place * count + i).filter((i) => top.ids[i] >= 0)
    .map((i) => ({ value: top.values[i], name: names[top.ids[i]], ofClass: classes[top.ids[i]] }));
}
