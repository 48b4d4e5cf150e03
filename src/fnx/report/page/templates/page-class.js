// The view of a class: which features it keeps, and from which layers they come.

const CARDS = 10; // as many as have a picture in any case

/** Label of features on cards and in tables, with their picture where there is one. */
function featureCard(id, value) {
  const source = picture(id);
  return el("a", { class: "card", href: address.feature(id) },
    source ? el("img", {
      src: source, loading: "lazy", decoding: "async", width: 288, height: 288,
      alt: `Image regions on which ${feature(id).label} is most active`,
    }) : null,
    el("span", { class: "card-text" }, code(feature(id).label), el("b", {}, distance(value))),
    signedBar(value));
}

/** Cards of the top features, then all of the given ones in a table. */
function topFeatures(found, sign, ofClass) {
  const rows = Array.from(found.features, (id, i) => ({ id, value: found.distances[i], shown: shownValue(found.distances[i], id, ofClass) }))
    .filter(({ shown }) => SIDE[sign] * (shown - run.neutral) > 0)
    .sort((a, b) => SIDE[sign] * (b.shown - a.shown) || a.id - b.id).slice(0, run.topOfClass)
    .map((row, i) => ({ ...row, rank: i + 1 }));
  const word = run.signed ? COLOUR[sign] : "distance";
  return el("section", {},
    el("h2", {}, "Top features by ", run.signed ? el("span", { class: word }, word) : word, isCalibrated() ? ", D calibrated" : ""),
    rows.length ? el("div", { class: "cards" }, rows.slice(0, CARDS).map((row) => featureCard(row.id, row.shown))) : el("p", {}, "None."),
    rows.length > CARDS ? el("details", {},
      el("summary", {}, `The top ${number(rows.length)} as a table`),
      pagedTable({
        rows, filter: (row) => feature(row.id).label, label: "part of a layer's name",
        columns: [
          numberColumn("rank", (row) => row.rank, number, { sorted: "ascending" }),
          { title: "feature", head: true, cell: (row) => featureLink(row.id), value: (row) => feature(row.id).label },
          numberColumn("D", (row) => row.value, distance),
          ...calibratedColumn((row) => calibrated(row.value, row.id, ofClass)),
          { title: "as a bar", cell: (row) => signedBar(row.shown) },
        ],
      })) : null);
}

/** The unit that detects the class best alone; nothing for a run without detectors. */
function detectorCard(detector, name) {
  if (!detector) return null;
  const source = picture(detector.id);
  return el("section", { class: "detector" },
    source ? el("img", {
      src: source, loading: "lazy", decoding: "async", width: 96, height: 96,
      alt: `Image regions on which ${feature(detector.id).label} is most active`,
    }) : null,
    el("div", {},
      el("h2", {}, "One unit that detects it"),
      el("p", {}, el("a", { href: address.feature(detector.id) }, code(detector.rule)), ` → ${clip(name, 80)}: `,
        `${detector.quality}.`)));
}

async function classView(id) {
  const [found] = await Promise.all([classData(id), loadMoments()]);
  const name = run.classNames[id];
  const images = run.classImages[id];
  const lines = SIGNS.map((sign) => el("li", {},
    el("b", {}, number(keptOf(sign)[id])), ` of ${number(N_FEATURES)} features are kept ${WORDS[sign]}: `,
    el("span", { class: "nowrap" }, `D ${sign === "+" ? ">" : "<"} t${POWER[sign]} = ${distance(limitsOf(sign)[id])}`),
    `; with random labels, ${number(sum(found[sign].keptRandom), 1)}`));
  return view({ kicker: "Class", title: name, place: id, count: N_CLASSES, to: address.class },
  el("div", { class: "beside" },
    el("div", {},
      el("p", { class: "lead" }, run.things === "rows" ? `${number(images)} row${images === 1 ? "" : "s"}.` : `${number(images)} image${images === 1 ? " was" : "s were"} shown to ${run.model}.`),
      el("ul", { class: "facts" }, lines)),
    run.classPictures.includes(id)
      ? el("img", { class: "sprite", src: `pictures/classes/${id}.jpg`, alt: `Sample images of ${clip(name, 80)}`, width: 240, height: 240 }) : null),
  detectorCard(run.detectors[id], name),
  againstSection(id),
  byDistance(() => SIGNS.map((sign) => topFeatures(found[sign], sign, id))),
  el("section", {},
    el("h2", {}, "What each layer keeps for it"),
    el("figure", {}, classLayersChart(found),
      el("figcaption", {}, "Share of each layer's features that is kept for this class", run.signed ? ": to the right by presence, to the left by absence." : ".", " Hatched: with random labels.")),
    layersOfClass(found)),
  el("section", {},
    el("h2", {}, "How many features are kept at every threshold"),
    SIGNS.map((sign) => el("figure", {}, classCurveChart(found[sign], sign, id),
      el("figcaption", {}, `Features with ${RELATION[sign]} for this class, and for the class of the same size under random labels (one permutation).`)))));
}

function layersOfClass(found) {
  return pagedTable({
    rows: run.layers.map((layer, i) => ({ layer, i })), size: 60, caption: "Features of each layer kept for this class, input at the top; in brackets, with random labels.",
    columns: [
      { title: "layer", head: true, cell: (row) => layerLink(row.layer), value: (row) => row.layer.name },
      numberColumn("features", (row) => row.layer.size),
      ...SIGNS.flatMap((sign) => [
        keptColumn(`kept ${WORDS[sign]}`, found[sign], (row) => row.i),
        numberColumn("share", (row) => (100 * found[sign].kept[row.i]) / row.layer.size, percent),
      ]),
    ],
  });
}

function classLayersChart(found) {
  const ids = range(run.layers.length);
  const shares = (counts) => ids.map((i) => (100 * counts[i]) / run.layers[i].size);
  const columns = Object.fromEntries(SIGNS.map((sign) => [sign, { pct_kept: shares(found[sign].kept), pct_kept_random: shares(found[sign].keptRandom) }]));
  return keptChart(() => columns, () => ids, "Share of each layer's features that is kept for this class", "features of the layer kept / %");
}

function classCurveChart(found, sign, id) {
  const points = found.curve.length;
  const x = range(points).map((i) => placed((REACH * i) / (points - 1), sign));
  const series = [
    { key: "real", title: "this class", colour: "real-line", mark: "line" },
    { key: "random", title: "random labels", colour: "random-line", mark: "dash" },
  ];
  const build = (palette, on) => {
    const trace = (y, { key, title, colour }, look) => (on.has(key) && y.length ? [curveTrace(x, y, title, sign, { width: 2.5, color: palette[colour], ...look })] : []);
    return {
      data: [...trace(found.curve, series[0]), ...trace(found.curveRandom, series[1], { dash: "dash" })],
      layout: {
        ...limitLines(palette, { signs: [sign], limitOf: () => limitsOf(sign)[id] }),
        xaxis: { title: { text: `threshold x on ${distanceName("raw")}` } },
        yaxis: { title: { text: `features with ${plain(RELATION[sign])}` }, rangemode: "tozero", tickformat: "," },
      },
    };
  };
  return chart({ label: `Features kept for this class ${WORDS[sign]} at every threshold`, series, height: 320, build });
}
