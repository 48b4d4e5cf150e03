// The figures of the front page, made interactive: they take the place of the drawn ones on screen.

const KINDS = { conv: "convolutional", fc: "fully connected", other: "other" };
const chosenLayers = new Set(range(run.layers.length));
const layerCharts = [];
const chosen = () => [...chosenLayers].sort((a, b) => a - b);

const KINDS_HERE = Object.keys(KINDS).filter((kind) => run.layers.some((layer) => layer.kind === kind));

/** Rows of an axis that lists layers, input at the top. */
function layerRows(ids) {
  const names = ids.map((i) => run.layers[i].name);
  return {
    names, places: range(ids.length),
    axis: {
      tickvals: range(ids.length), ticktext: names.map((name) => plain(shorten(name, narrow() ? 20 : 30))),
      range: [ids.length - 0.4, -0.6], showgrid: false, zeroline: false, tickfont: { size: narrow() ? 10 : 12 },
    },
  };
}

/** Height of a chart that lists layers. */
const layersHeight = (count) => Math.min(1600, 110 + Math.max(4, count) * 19);

/** The numbers of all figures of the front page. */
const figureData = () => chunk("figures");

/** Symmetric limits of an axis on which absence lies to the left of a middle. */
function symmetric(values, middle = 0) {
  const side = 1.05 * Math.max(1e-9, ...values.filter(Number.isFinite).map((value) => Math.abs(value - middle)));
  return run.signed ? [middle - side, middle + side] : [middle, middle + side];
}

function figure5() {
  const series = [
    ...SIGNS.map((sign) => ({
      key: sign, title: run.signed ? `D${POWER[sign]}, ${WORDS[sign]}` : "real labels", colour: COLOUR[sign], mark: sign === "+" ? "dot" : "square",
    })),
    { key: "random", title: "random labels", colour: "random-fill", mark: "area" },
  ];
  const build = (palette, on, data) => {
    const ids = chosen();
    const columns = shownOf(data).layers;
    const { names, places, axis } = layerRows(ids);
    const traces = [];
    const ends = [];
    for (const sign of SIGNS) {
      const take = (column) => ids.map((i) => columns[sign][column]?.[i] ?? NaN);
      const [low, high, mode] = ["low_random", "high_random", "mode_random"].map(take);
      if (on.has("random")) {
        traces.push({
          type: "bar", orientation: "h", base: low, x: high.map((value, i) => value - low[i]), y: places,
          width: 0.72, marker: { color: palette["random-fill"] },
          customdata: ids.map((_, i) => [plain(names[i]), distance(mode[i]), distance(low[i]), distance(high[i])]),
          hovertemplate: "%{customdata[0]}, random labels<br>mode %{customdata[1]}, bars %{customdata[2]} to %{customdata[3]}<extra></extra>",
        }, {
          type: "scatter", mode: "markers", x: mode, y: places, hoverinfo: "skip",
          marker: { symbol: "line-ns", size: 12, line: { color: palette.muted, width: 1.5 } },
        });
        ends.push(...low, ...high);
      }
      if (!on.has(sign)) continue;
      const [left, right, middle] = ["low", "high", "mode"].map(take);
      ends.push(...left, ...right);
      traces.push({
        type: "scatter", mode: "markers", x: middle, y: places,
        marker: { color: palette[COLOUR[sign]], symbol: sign === "+" ? "circle" : "square", size: 8, line: { color: palette.paper, width: 1 } },
        error_x: {
          type: "data", symmetric: false, array: right.map((value, i) => value - middle[i]), arrayminus: left.map((value, i) => middle[i] - value),
          color: palette[COLOUR[sign]], thickness: 1.6, width: 3,
        },
        customdata: ids.map((i, j) => [plain(names[j]), distance(middle[j]), distance(left[j]), distance(right[j]), i]),
        hovertemplate: "%{customdata[0]}<br>mode %{customdata[1]}, bars %{customdata[2]} to %{customdata[3]}<extra></extra>",
      });
      if (!isCalibrated()) continue;
      const mean = take("mean");
      traces.push({
        type: "scatter", mode: "markers", x: mean, y: places,
        marker: { symbol: "diamond", size: 8, color: palette.paper, line: { color: palette[COLOUR[sign]], width: 1.6 } },
        customdata: ids.map((i, j) => [plain(names[j]), distance(mean[j]), "", "", i]),
        hovertemplate: "%{customdata[0]}<br>mean %{customdata[1]}, with those at 0<extra></extra>",
      });
    }
    return {
      data: traces,
      layout: { barmode: "overlay", yaxis: axis, xaxis: { title: { text: `${distanceName()}: mode, and 68 % on each side` }, range: symmetric(ends, run.neutral) } },
    };
  };
  return chart({ label: "Distribution of the distances of each layer", series, height: () => layersHeight(chosenLayers.size), build, data: figureData, pick: toLayer });
}

/** Address of the layer of a point; random labels have none. */
const toLayer = ({ customdata }) => (customdata?.length > 4 ? address.layer(run.layers[customdata[4]].name) : null);

const figure10 = () =>
  keptChart(async () => (await figureData()).layers, chosen, "Share of each layer that is kept", "pairs of the layer kept / %");

/** Bars of what is kept of each layer; data → columns: columns[sign].pct_kept and .pct_kept_random by layer. */
function keptChart(data, layers, label, title) {
  const series = [
    { key: "real", title: "real labels", colour: "kept", mark: "area" },
    { key: "random", title: "random labels", colour: "kept-random", mark: "hatch" },
  ];
  const build = (palette, on, columns) => {
    const ids = layers();
    const { names, places, axis } = layerRows(ids);
    const looks = {
      real: { column: "pct_kept", above: -0.15, width: 0.44, pattern: {} },
      random: { column: "pct_kept_random", above: 0.22, width: 0.3, pattern: { shape: "/", size: 5, solidity: 0.35, fgcolor: palette.paper, bgcolor: palette["kept-random"], fillmode: "overlay" } },
    };
    const traces = series.filter(({ key }) => on.has(key)).flatMap(({ key, title: labels, colour }) => SIGNS.map((sign) => {
      const { column, above, width, pattern } = looks[key];
      const values = ids.map((i) => columns[sign][column][i]);
      return {
        type: "bar", orientation: "h", x: values.map((value) => SIDE[sign] * value), y: places.map((i) => i + above), width,
        marker: { color: palette[colour], pattern },
        customdata: ids.map((i, j) => [plain(names[j]), percent(values[j]), WORDS[sign], labels, i]),
        hovertemplate: "%{customdata[0]}, %{customdata[3]}<br>%{customdata[1]} kept %{customdata[2]}<extra></extra>",
      };
    }));
    const limits = symmetric(traces.flatMap(({ x }) => x));
    return {
      data: traces,
      layout: {
        barmode: "overlay", yaxis: axis, xaxis: { title: { text: title }, range: limits, ...unsignedTicks(limits) },
        annotations: SIGNS.map((sign) => ({
          text: WORDS[sign], showarrow: false, xref: "paper", yref: "paper", x: sign === "+" ? 0.75 : 0.25, y: 1, yanchor: "bottom", xanchor: "center", // the right corner is plotly's
        })),
      },
    };
  };
  return chart({ label, series, height: () => layersHeight(layers().length), build, data, pick: toLayer });
}

/** Ticks of an axis that counts to both sides: no minus to the left. */
function unsignedTicks([low, high]) {
  const rough = (high - low) / (narrow() ? 4 : 8);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough);
  const ticks = range(Math.floor((high - low) / step) + 2).map((i) => (Math.ceil(low / step) + i) * step).filter((value) => value <= high);
  return { tickvals: ticks, ticktext: ticks.map((value) => String(+Math.abs(value).toPrecision(6))) };
}

/** Percent of all pairs of some layers in each bin. */
function pooled(data, key, pairs, ids) {
  const bins = data.edges.length - 1;
  const total = Math.max(sum(ids.map((i) => data[pairs][i])), 1);
  return range(bins).map((bin) => (100 * sum(ids.map((i) => data[key][i * bins + bin]))) / total);
}

/** A histogram as the outline that a step line draws. */
const outline = (edges, values) => ({ x: values.flatMap((_, i) => [edges[i], edges[i + 1]]), y: values.flatMap((value) => [value, value]) });

/** Says how many pairs are not drawn, if there are any. */
function beyond(real, suffix = "") {
  const rest = 100 - sum(real);
  const where = isCalibrated() ? `are at ${run.neutral}` : "lie beyond"; // no farther out than chance
  return rest < 0.005 ? [] : [{
    text: `${number(rest, 2)} % of the pairs ${where}: not drawn`, showarrow: false, xref: "paper", yref: `y${suffix} domain`, x: 0.99, y: isCalibrated() ? 0.88 : 0.5, xanchor: "right",
  }];
}

/** Traces of a distribution of distances: random labels filled, real ones as a line. */
function distributionTraces(edges, real, random, palette, on, { name = "", keys = ["real", "random"] } = {}) {
  const bins = range(edges.length - 1).flatMap((i) => Array(2).fill(`D from ${number(edges[i], 2)} to ${number(edges[i + 1], 2)}`));
  const trace = (key, labels, values, look) => (on.has(key) ? [{
    type: "scatter", mode: "lines", customdata: bins, ...outline(edges, values), ...look,
    hovertemplate: `${name}${labels} labels: %{y:.3f} %<br>%{customdata}<extra></extra>`,
  }] : []);
  return [
    ...trace(keys[1], "random", random, { fill: "tozeroy", fillcolor: palette["random-fill"], opacity: 0.8, line: { width: 0.5, color: palette.muted } }),
    ...trace(keys[0], "real", real, { line: { width: 2, color: palette.presence } }),
  ];
}

function figure6() {
  const series = KINDS_HERE.flatMap((kind) => [
    { key: kind, title: `${KINDS[kind]} layers`, colour: "presence", mark: "line" },
    { key: `${kind} random`, title: KINDS_HERE.length > 1 ? `${KINDS[kind]}, random labels` : "random labels", colour: "random-fill", mark: "area" },
  ]);
  const ofKind = (kind) => [...chosenLayers].filter((i) => run.layers[i].kind === kind);
  const kindsShown = () => KINDS_HERE.filter((kind) => ofKind(kind).length);
  const build = (palette, on, data) => {
    const shown = kindsShown();
    const shownData = shownOf(data);
    const layout = { ...rawLimitLines(palette), grid: { rows: Math.max(1, shown.length), columns: 1 } };
    const title = { text: `pairs / % per ${number(data.edges[1] - data.edges[0], 2)} of D` };
    const traces = shown.flatMap((kind, row) => {
      const suffix = row ? row + 1 : "";
      const real = pooled(shownData, "histogram", "pairs", ofKind(kind));
      const random = pooled(shownData, "histogramRandom", "pairsRandom", ofKind(kind));
      layout[`yaxis${suffix}`] = { title: { ...title, font: { size: 11 } }, rangemode: "tozero" };
      layout.annotations.push(...beyond(real, suffix), { text: `${KINDS[kind]} layers`, showarrow: false, xref: "paper", yref: `y${suffix} domain`, x: 0.01, y: 0.98, xanchor: "left", yanchor: "top" });
      return distributionTraces(data.edges, real, random, palette, on, { name: `${KINDS[kind]}, `, keys: [kind, `${kind} random`] })
        .map((trace) => ({ ...trace, yaxis: `y${suffix}` }));
    });
    layout.xaxis = { title: { text: distanceName() }, range: run.range, anchor: shown.length > 1 ? `y${shown.length}` : "y" };
    return { data: traces, layout };
  };
  return chart({ label: "Distribution of all distances", series, height: () => 150 + 190 * Math.max(1, kindsShown().length), build, data: figureData });
}

/** Curves of many classes as one line with gaps; every step-th point, so that it stays quick. */
function manyCurves(data, counts, sign, step) {
  const places = range(Math.ceil(data.x.length / step)).map((i) => i * step);
  const x = [...places.map((i) => placed(data.x[i], sign)), null];
  const rows = Array.from(data.shown, (id, row) => ({ row, name: hoverName(id) }));
  return {
    connectgaps: false, x: rows.flatMap(() => x),
    y: rows.flatMap(({ row }) => [...places.map((i) => counts[row * data.x.length + i]), null]),
    text: rows.flatMap(({ name }) => [...places.map(() => name), ""]),
  };
}

const hoverName = (id) => plain(clip(run.classNames[id], 60));

/** How many features are kept at every threshold, as one line. */
function curveTrace(x, y, name, sign, line, format = ",") {
  const hovertemplate = `${name}: %{y:${format}} features with ${plain(RELATION[sign])} = %{x:.3f}<extra></extra>`;
  return { type: "scatter", mode: "lines", x, y: Array.from(y), line, hovertemplate };
}

function figure9(sign) {
  const picked = new Map();
  const series = [
    { key: "classes", title: "each class", colour: "muted", mark: "line" },
    { key: "random", title: "each class, random labels", colour: "random-line", mark: "line" },
    { key: "mean", title: "mean", colour: "real-line", mark: "line" },
    { key: "meanRandom", title: "mean, random labels", colour: "random-line", mark: "dash" },
  ];
  const build = (palette, on, data) => {
    const curves = data.curves[sign];
    const step = Math.ceil((data.shown.length * data.x.length) / 30000);
    const x = Array.from(data.x, (value) => placed(value, sign));
    const opacity = Math.min(0.6, Math.max(0.12, 4 / Math.sqrt(data.shown.length)));
    const [real, random] = [palette["real-line"], palette["random-line"]];
    const traces = [];
    const many = (counts, name, color) => traces.push({ ...curveTrace([], [], name, sign, { width: 1, color }), ...manyCurves(data, counts, sign, step), opacity });
    if (on.has("classes")) many(curves.real, "%{text}", real);
    if (on.has("random") && curves.random.length) many(curves.random, "%{text}, random labels", random);
    if (on.has("mean")) traces.push(curveTrace(x, curves.mean, "mean of the classes", sign, { width: 3, color: real }, ",.1f"));
    if (on.has("meanRandom") && curves.meanRandom.length) traces.push(curveTrace(x, curves.meanRandom, "mean, random labels", sign, { width: 3, color: random, dash: "dash" }, ",.1f"));
    [...picked].forEach(([id, found], i) => {
      const color = HIGHLIGHTS[i % HIGHLIGHTS.length];
      const text = Array(x.length).fill(hoverName(id)); // not in the template itself: a name may hold "%{"
      traces.push({ ...curveTrace(x, found[sign].curve, "%{text}", sign, { width: 2.5, color }), text });
      traces.push({ ...curveTrace(x, found[sign].curveRandom, "%{text}, random labels", sign, { width: 1.5, color, dash: "dot" }), text });
    });
    traces.push({
      type: "scatter", mode: "lines", yaxis: "y2", x: Array.from(data.davgX, (value) => placed(value, sign)), y: Array.from(curves.davg),
      line: { width: 1.5, color: palette.ink }, hovertemplate: "d<sub>avg</sub> %{y:,.1f} features at x = %{x:.3f}<extra></extra>",
    });
    return {
      data: traces,
      layout: {
        ...limitLines(palette, { signs: [sign] }),
        xaxis: { title: { text: `threshold x on ${distanceName("raw")}` }, range: [run.neutral, placed(REACH, sign)].sort((a, b) => a - b), anchor: "y2" },
        yaxis: { domain: [0.3, 1], title: { text: `features with ${plain(RELATION[sign])}` }, rangemode: "tozero", tickformat: "," },
        yaxis2: { domain: [0, 0.22], title: { text: "d<sub>avg</sub> / features" }, tickformat: "," },
      },
    };
  };
  const box = chart({ label: `Number of features kept for each class ${WORDS[sign]}, at every threshold`, series, height: 480, build, data: figureData });
  box.prepend(classPicker(picked, box));
  return box;
}

/** Chooses classes whose curves stand out, and lists them so that they can be taken off again. */
function classPicker(picked, box) {
  const list = el("span", { class: "chips" });
  const show = () => {
    list.replaceChildren(...[...picked.keys()].map((id, i) => {
      const chip = el("button", { type: "button", title: "remove", onclick: () => { picked.delete(id); show(); } }, clip(run.classNames[id], 30), " ×");
      chip.style.setProperty("--chip", HIGHLIGHTS[i % HIGHLIGHTS.length]);
      return chip;
    }));
    box.redraw();
  };
  const choose = async ({ id }) => { picked.set(id, await classData(id)); show(); };
  const some = run.curves < N_CLASSES
    ? el("span", { class: "status" }, `${number(run.curves)} of ${number(N_CLASSES)} classes are drawn; any other can be added.`) : null;
  return el("div", { class: "tools" }, combobox({ label: "Highlight a class", find: findClasses, choose }), list, some);
}

/** Boxes that switch layers on and off, for the figures that list or pool layers. */
function layerChooser() {
  const boxes = run.layers.map((layer, i) => el("input", { type: "checkbox", checked: true, onchange: () => set([i], boxes[i].checked) }));
  const summary = el("summary", {});
  const title = () => { summary.textContent = `Layers in the figures: ${chosenLayers.size === boxes.length ? "all" : number(chosenLayers.size)} of ${number(boxes.length)}`; };
  function set(ids, state) {
    for (const i of ids) {
      boxes[i].checked = state;
      chosenLayers[state ? "add" : "delete"](i);
    }
    title();
    layerCharts.forEach((box) => box.redraw());
  }
  const all = range(boxes.length);
  const button = (text, shown) => el("button", { type: "button", onclick: () => { set(all, false); set(all.filter(shown), true); } }, text);
  title();
  return el("details", { class: "chooser" }, summary,
    el("div", { class: "tools" },
      button("All", () => true), button("None", () => false),
      KINDS_HERE.length > 1 ? KINDS_HERE.map((kind) => button(`Only ${KINDS[kind]}`, (i) => run.layers[i].kind === kind)) : null),
    el("div", { class: "boxes" }, run.layers.map((layer, i) => el("label", {}, boxes[i], el("code", {}, layer.name)))));
}

/** Put the interactive figures in place of the drawn ones, which stay for print and as a way back. */
function enliven() {
  const makers = {
    fig05_layers: figure5, fig10_kept: figure10, fig06_distribution: figure6,
    fig09_presence: () => figure9("+"), fig09_absence: () => figure9("-"),
  };
  for (const [name, make] of Object.entries(makers)) {
    const place = document.getElementById(name);
    if (!place) continue;
    const box = make();
    if (!name.startsWith("fig09")) layerCharts.push(box);
    place.prepend(box);
    place.classList.add("live");
  }
  document.getElementById("layer-chooser").replaceChildren(layerChooser());
}

/** Go back to the drawn figures where the numbers of the others are not there. */
async function checkFigures() {
  try {
    await figureData();
  } catch (error) {
    document.getElementById("alone").textContent = `${error.message} The figures below are static; single classes, layers and features have no view.`;
    document.getElementById("layer-chooser").replaceChildren();
    for (const place of document.querySelectorAll(".live")) {
      place.classList.remove("live");
      place.querySelector(".chart").remove();
    }
  }
}
