// The view of a feature: its distance to every class, and what random labels made of it.

async function featureView(id) {
  const { layer, unit, label } = feature(id);
  const [{ distances, random, constant, values, top }] = await Promise.all([featureData(id), loadMoments()]);
  const order = range(N_CLASSES).filter((ofClass) => !Number.isNaN(distances[ofClass])).sort((a, b) => distances[b] - distances[a] || a - b);
  const kept = Object.fromEntries(SIGNS.map((sign) => [sign, order.filter((ofClass) => keptSign(distances[ofClass], ofClass) === sign)]));
  if (kept["-"]) kept["-"].reverse();
  const source = picture(id);
  return view({
    kicker: el("span", {}, `Unit ${number(unit)} of layer `, layerLink(layer)), title: label, code: true,
    place: id, count: N_FEATURES, to: address.feature,
  },
  el("div", { class: "beside" },
    el("div", {},
      constant ? el("p", { class: "lead" }, `This feature has the same value for all ${run.things}: it tells nothing.`) : null,
      layer.network ? el("p", { class: "lead" }, `It sees ${layer.network.sees}.`) : null,
      el("ul", { class: "facts" }, SIGNS.map((sign) => el("li", {},
        "kept for ", el("b", {}, number(kept[sign].length)), ` of ${number(N_CLASSES)} classes ${WORDS[sign]}`,
        kept[sign].length ? ": " : "", listed(kept[sign], distances)))),
      el("p", { class: "facts" }, run.permutations ? `With random labels, its D lies between ${distance(random[0])} and ${distance(random[3])}; 95 % of them between ${distance(random[1])} and ${distance(random[2])}.` : null)),
    source ? el("figure", { class: "picture" },
      el("img", { class: "sprite", src: source, alt: `The image regions on which ${label} is most active, the most active first`, width: 240, height: 240 }),
      el("figcaption", {}, "Where it is most active, row by row from the most active.")) : null),
  top.length ? topImages(top) : null,
  featureValues(values, label),
  el("section", {},
    el("h2", {}, "D for every class"),
    run.whole ? null : el("p", {}, "This run has too many distances for a page: only this feature's top classes are listed. All are in ", el("code", {}, "distances.npy"), "."),
    el("figure", {}, featureChart(id, order, distances, random),
      el("figcaption", {}, "Classes from the highest D to the lowest. Grey: where 95 % of this feature's raw distances lie with random labels. Click a bar for its class.")),
    pagedTable({
      rows: order, filter: (ofClass) => run.classNames[ofClass], label: "part of a class's name",
      columns: [
        CLASS_COLUMN,
        IMAGES_COLUMN,
        numberColumn("D", (ofClass) => distances[ofClass], distance, { sorted: "descending" }),
        ...calibratedColumn((ofClass) => calibrated(distances[ofClass], id, ofClass)),
        { title: "as a bar", cell: (ofClass) => signedBar(distances[ofClass]) },
        { title: "kept", class: "nowrap", cell: (ofClass) => keptWord(distances[ofClass], ofClass), value: (ofClass) => keptSign(distances[ofClass], ofClass) },
      ],
    }),
    el("p", {}, el("a", { href: address.layer(layer.name) }, "All units of ", el("code", {}, layer.name)))));
}

/** The images, or rows of an array, on which a feature is highest: its values there, and their names. */
function topImages(top) {
  const rows = run.things === "rows";
  return el("section", {},
    el("h2", {}, rows ? "Top rows" : "Top-activating images"),
    scrolled("Top-activating images, the highest value first", el("table", { class: "top" },
      el("thead", {}, el("tr", {}, [["value", "n"], [rows ? "row" : "file"], ["class"]].map(([title, kind]) => el("th", { scope: "col", class: kind }, title)))),
      el("tbody", {}, top.map(({ value, name, ofClass }) => el("tr", {},
        el("td", { class: "n" }, number(value, 3)), el("td", { class: "path" }, name), el("td", { class: "name" }, ofClass ?? "–")))))));
}

/** The two distributions that D compares, of the class that the feature says most about. */
function featureValues(values, label) {
  if (!values || typeof values === "string") return el("p", { class: "facts" }, values ? `Its values are not shown: ${values}` : null);
  const { ofClass, edges, inner, outer } = values;
  const name = run.classNames[ofClass];
  const series = [
    { key: "outer", title: `all others (${number(sum(outer))})`, colour: "random-fill", mark: "area" },
    { key: "inner", title: `${clip(name, 40)} (${number(sum(inner))})`, colour: "presence", mark: "line" },
  ];
  const build = (palette, on) => {
    const bins = edges.slice(1).flatMap((edge, i) => Array(2).fill(`${number(edges[i], 3)} to ${number(edge, 3)}`));
    const trace = ({ key, title }, counts, look) => (on.has(key) ? [{
      type: "scatter", mode: "lines", customdata: bins, ...outline(edges, Array.from(counts, (count) => (100 * count) / Math.max(1, sum(counts)))), ...look,
      text: Array(bins.length).fill(plain(title)), hovertemplate: "%{text}: %{y:.1f} %<br>value %{customdata}<extra></extra>",
    }] : []);
    return {
      data: [
        ...trace(series[0], outer, { fill: "tozeroy", fillcolor: palette["random-fill"], line: { width: 0.5, color: palette.muted } }),
        ...trace(series[1], inner, { line: { width: 2, color: palette.presence } }),
      ],
      layout: { xaxis: { title: { text: "value of the feature" } }, yaxis: { title: { text: `${run.things} / % of each` }, rangemode: "tozero" } },
    };
  };
  return el("section", {},
    el("h2", {}, "Its values inside and outside a class"),
    el("figure", {}, chart({ label: `Values of ${label} inside and outside ${name}`, series, height: 260, build }),
      el("figcaption", {}, "The two distributions that D compares, for the class that it says most about: ", classLink(ofClass), ".")));
}

/** The first classes of a list, linked to, each with its D. */
function listed(ids, distances, most = 6) {
  const names = ids.slice(0, most).flatMap((id, i) => [i ? ", " : "", classLink(id, 40), ` (${distance(distances[id])})`]);
  return ids.length > most ? [...names, ` and ${number(ids.length - most)} more`] : names;
}

function keptWord(value, ofClass) {
  const sign = keptSign(value, ofClass);
  return sign ? el("span", { class: run.signed && COLOUR[sign] }, WORDS[sign]) : "–";
}

function featureChart(id, order, distances, random) {
  const { label } = feature(id);
  const series = [
    ...SIGNS.map((sign) => ({ key: sign, title: run.signed ? `kept ${WORDS[sign]}` : "kept", colour: COLOUR[sign], mark: "area" })),
    { key: "", title: "not kept", colour: "muted", mark: "area" },
    { key: "random", title: "random labels", colour: "random-fill", mark: "area" },
  ];
  const few = order.length <= 24;
  const build = (palette, on) => {
    const colour = { "+": palette.presence, "-": palette.absence, "": palette.muted };
    const valueOf = (ofClass) => shownValue(distances[ofClass], id, ofClass);
    const sorted = [...order].sort((a, b) => valueOf(b) - valueOf(a)); // stable: in a raw order, nothing moves
    const shown = sorted.map((ofClass, place) => ({ ofClass, place, sign: keptSign(distances[ofClass], ofClass) })).filter((row) => on.has(row.sign));
    const lines = rawLimitLines(palette, { across: "y" });
    const band = on.has("random") && run.permutations && !isCalibrated() ? [{
      type: "rect", xref: "paper", x0: 0, x1: 1, y0: random[1], y1: random[2], fillcolor: palette["random-fill"], opacity: 0.55, line: { width: 0 }, layer: "below",
    }] : [];
    return {
      data: [{
        type: "bar", base: run.neutral, x: shown.map((row) => row.place), y: shown.map((row) => valueOf(row.ofClass) - run.neutral),
        marker: { color: shown.map((row) => colour[row.sign]), line: { width: 0 } },
        customdata: shown.map((row) => [plain(clip(run.classNames[row.ofClass], 60)), distance(valueOf(row.ofClass)), row.ofClass]),
        hovertemplate: `%{customdata[0]}<br>${isCalibrated() ? "calibrated " : ""}D = %{customdata[1]}<extra></extra>`,
      }],
      layout: {
        ...lines, shapes: [...band, ...lines.shapes], bargap: order.length > 100 ? 0 : 0.2,
        xaxis: {
          range: [-0.6, order.length - 0.4], showgrid: false, zeroline: false, title: { text: few ? "" : `${number(order.length)} classes, from the highest D` },
          ...(few ? { tickvals: range(order.length), ticktext: sorted.map((id) => plain(clip(run.classNames[id], 18))), tickangle: order.length > 10 || narrow() ? -60 : 0 } : { showticklabels: false }),
        },
        yaxis: { title: { text: isCalibrated() ? "calibrated D" : "D" } },
      },
    };
  };
  return chart({ label: `Distance D of ${label} for every class`, series, height: 380, build, pick: (point) => address.class(point.customdata[2]) });
}
