// The view of a layer: its distribution, top pairs, classes and units.

/** What is known of a layer beside its distances, as a line of text. */
function layerFacts({ size, network = {} }) {
  return [
    `${number(size)} features`,
    network.height && `maps of ${number(network.height)} × ${number(network.width)}`,
    network.sees && `each unit sees ${network.sees}`,
    network.parameters && `${number(network.parameters)} parameters`,
  ].filter(Boolean).join(" · ");
}

async function layerView(i) {
  const layer = run.layers[i];
  const [found, data] = await Promise.all([chunk(`layer-${i}`), chunk("figures"), loadMoments()]);
  const lines = () => SIGNS.map((sign) => {
    const table = { ...data.layers[sign], ...shownOf(data).layers[sign] };
    return el("li", {}, el("b", {}, percent(table.pct_kept[i])), ` of its (feature, class) pairs are kept ${WORDS[sign]}; with random labels, ${percent(table.pct_kept_random[i])}.`,
      Number.isNaN(table.mode[i]) ? "" : ` Its ${isCalibrated() ? "calibrated " : ""}D${run.signed ? POWER[sign] : ""} has the mode ${distance(table.mode[i])}, with 68 % on each side within ${distance(table.low[i])} to ${distance(table.high[i])}.`);
  });
  return view({
    kicker: `Layer, ${KINDS[layer.kind] || layer.kind}`, title: layer.name, code: true,
    place: i, count: run.layers.length, to: (place) => address.layer(run.layers[place].name),
  },
  el("p", { class: "lead" }, layerFacts(layer)),
  byDistance(() => el("ul", { class: "facts" }, lines())),
  el("section", {},
    el("h2", {}, "Distribution of its distances"),
    el("figure", {}, layerChart(layer, found),
      el("figcaption", {}, "Percentage of the layer's (feature, class) pairs with each D; filled: with random labels."))),
  el("section", {},
    el("h2", {}, "Its top pairs of feature and class"),
    byDistance(() => el("div", { class: "halves" }, SIGNS.map((sign) => topPairs(isCalibrated() ? found.calibrated.pairs[sign] : found.signs[sign], sign))))),
  el("section", {}, el("h2", {}, "Features kept per class"), classesOfLayer(layer, found)),
  el("section", {}, el("h2", {}, "Its units"), unitsOfLayer(layer, found)));
}

function layerChart(layer, found) {
  const pairs = layer.size * N_CLASSES;
  const share = (counts, total) => Array.from(counts, (count) => (100 * count) / Math.max(total, 1));
  const series = [
    { key: "real", title: "real labels", colour: "presence", mark: "line" },
    { key: "random", title: "random labels", colour: "random-fill", mark: "area" },
  ];
  return chart({
    label: `Distribution of the distances of layer ${layer.name}`, series, height: 340,
    build: (palette, on) => {
      const { histogram, histogramRandom } = shownOf(found);
      const real = share(histogram, pairs);
      const layout = rawLimitLines(palette);
      layout.annotations.push(...beyond(real));
      layout.xaxis = { title: { text: distanceName() }, range: run.range };
      layout.yaxis = { title: { text: `pairs / % per ${number(found.edges[1] - found.edges[0], 2)} of D` }, rangemode: "tozero" };
      return { layout, data: distributionTraces(found.edges, real, share(histogramRandom, pairs * run.permutations), palette, on) };
    },
  });
}

function topPairs(part, sign) {
  const rows = Array.from(part.pairFeatures, (id, i) => ({ id, ofClass: part.pairClasses[i], value: part.pairDistances[i] }));
  return pagedTable({
    rows, size: 10, caption: `Top pairs ${WORDS[sign]}`, empty: "no pair of this sign",
    columns: [
      { title: "feature", head: true, cell: (row) => thumbnail(row.id), value: (row) => feature(row.id).label },
      { title: "class", class: "name", cell: (row) => classLink(row.ofClass, 40), value: (row) => run.classNames[row.ofClass] },
      numberColumn("D", (row) => row.value, distance),
      ...calibratedColumn((row) => calibrated(row.value, row.id, row.ofClass)),
    ],
  });
}

/** A feature's link with its picture, small, where there is one. */
function thumbnail(id) {
  const source = picture(id);
  return el("span", { class: "thumbnail" },
    source ? el("img", { src: source, alt: "", loading: "lazy", decoding: "async", width: 48, height: 48 }) : null, featureLink(id));
}

function classesOfLayer(layer, found) {
  const kept = range(N_CLASSES).map((id) => sum(SIGNS.map((sign) => found.signs[sign].kept[id])));
  return pagedTable({
    rows: range(N_CLASSES).sort((a, b) => kept[b] - kept[a]), size: 10, filter: (id) => run.classNames[id], label: "part of a class's name",
    caption: "Features of this layer kept for each class; in brackets, with random labels.",
    columns: [
      CLASS_COLUMN,
      ...SIGNS.map((sign) => keptColumn(WORDS[sign], found.signs[sign], (id) => id)),
      numberColumn("share of the layer", (id) => (100 * kept[id]) / layer.size, percent, { sorted: "descending" }),
    ],
  });
}

function unitsOfLayer(layer, found) {
  return pagedTable({
    rows: range(layer.size), filter: (place) => String(feature(layer.first + place).unit), label: "number of a unit",
    caption: "For how many classes each unit is kept, and the class with its highest and lowest D.",
    columns: [
      { title: "unit", head: true, cell: (place) => thumbnail(layer.first + place), value: (place) => String(feature(layer.first + place).unit), sorted: "ascending" },
      ...SIGNS.flatMap((sign) => {
        const part = found.signs[sign];
        return [
          numberColumn(`classes ${WORDS[sign]}`, (place) => part.classesKept[place]),
          numberColumn(sign === "+" ? "highest D" : "lowest D", (place) => part.best[place], distance),
          ...calibratedColumn((place) => calibrated(part.best[place], layer.first + place, part.bestClass[place])),
          { title: "for", class: "name", cell: (place) => ((part.best[place] - run.neutral) * SIDE[sign] > 0 ? classLink(part.bestClass[place], 30) : "–"), value: (place) => run.classNames[part.bestClass[place]] },
        ];
      }),
    ],
  });
}
