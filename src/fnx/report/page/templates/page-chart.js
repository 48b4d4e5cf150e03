// Interactive charts: plotly is loaded when the first one comes near, and drawn in the page's colours.

const NAMED = ["ink", "muted", "grid", "paper", "presence", "absence", "random-fill", "real-line",
  "random-line", "kept", "kept-random"];
const HIGHLIGHTS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]; // Okabe and Ito

/** The page's colours as they are now, light or dark. */
function colours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(NAMED.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

const nearby = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    nearby.unobserve(entry.target);
    entry.target.wanted();
  }
}, { rootMargin: "300px" });

/**
 * A chart whose series can be switched on and off.
 *   label    what is seen, for those who cannot see it
 *   series   [{ key, title, colour (a name of NAMED), mark: "line"|"dash"|"area"|"dot"|"square"|"hatch" }]
 *   height   in pixels, or a function of it: the room is there before anything is drawn, so that
 *            nothing below moves when it is
 *   data     → what it shows, perhaps a promise of it: asked for when the chart comes near
 *   build    (colours, on, data) → { data, layout }; on: a set of keys
 *   pick     point → address to go to when it is clicked
 */
function chart({ label, series, height, build, data = () => null, pick = null }) {
  const plot = el("div", { class: "plot" });
  const on = new Set(series.map((one) => one.key));
  const note = el("p", { class: "waiting", role: "status" }, "Drawing …");
  const fit = () => { plot.style.height = `${typeof height === "function" ? height() : height}px`; };
  let drawn = false;

  async function draw() {
    const [shown] = await Promise.all([data(), script("plotly.min.js")]);
    if (!plot.isConnected) return;
    const palette = colours();
    const built = build(palette, on, shown);
    fit();
    await Plotly.react(plot, built.data, themed(built.layout, palette), {
      displaylogo: false, responsive: true,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "hoverClosestCartesian", "hoverCompareCartesian", "toggleSpikelines"],
    });
    note.remove();
    if (pick && !drawn) plot.on("plotly_click", ({ points }) => { const to = pick(points[0]); if (to) location.hash = to; });
    drawn = true;
  }

  fit();
  const box = el("div", { class: "chart" },
    series.length > 1 ? el("div", { class: "series", role: "group", "aria-label": "Series shown" },
      series.map((one) => el("label", {},
        el("input", {
          type: "checkbox", checked: on.has(one.key),
          onchange: (event) => { on[event.target.checked ? "add" : "delete"](one.key); redraw(); },
        }),
        swatch(one), one.title))) : null,
    el("div", { class: "frame", role: "group", "aria-label": `${label}, as a chart` }, note, plot));
  const redraw = () => draw().catch((error) => { note.textContent = error.message; plot.before(note); });
  box.redraw = () => { if (drawn) redraw(); };
  plot.wanted = redraw;
  nearby.observe(plot);
  return box;
}

function swatch(one) {
  const mark = el("i", { class: `swatch ${one.mark}`, "aria-hidden": "true" });
  mark.style.setProperty("--swatch", `var(--${one.colour})`);
  return mark;
}

function themed(layout, palette) {
  const axis = {
    gridcolor: palette.grid, zerolinecolor: palette.muted, linecolor: palette.muted, automargin: true,
    tickfont: { size: 12 }, title: { font: { size: 13 } },
  };
  const merged = {
    autosize: true, showlegend: false, hovermode: "closest", dragmode: narrow() ? false : "zoom",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", uirevision: "kept",
    font: { family: getComputedStyle(document.body).fontFamily, color: palette.ink, size: 12 },
    margin: { l: 8, r: 12, t: 28, b: 8 }, modebar: { color: palette.muted, activecolor: palette.ink, bgcolor: "rgba(0,0,0,0)" },
    hoverlabel: { bgcolor: palette.paper, bordercolor: palette.muted, font: { color: palette.ink }, align: "left", namelength: -1 },
    ...layout,
  };
  for (const name of Object.keys(merged)) {
    if (!/^[xy]axis/.test(name)) continue;
    const given = merged[name];
    merged[name] = { ...axis, ...given, title: { ...axis.title, ...given.title } };
  }
  return merged;
}

/** Dashed lines across a chart at the thresholds of a class, or those of all classes, named at their ends. */
function limitLines(palette, { signs = SIGNS, across = "x", limitOf = commonLimit } = {}) {
  const other = across === "x" ? "y" : "x";
  const lines = signs.map((sign) => ({ sign, value: limitOf(sign) })).filter(({ value }) => Number.isFinite(value));
  return {
    shapes: lines.map(({ value }) => ({
      type: "line", [`${across}0`]: value, [`${across}1`]: value, [`${other}ref`]: "paper", [`${other}0`]: 0, [`${other}1`]: 1,
      line: { color: palette.ink, width: 1, dash: "dash" },
    })),
    annotations: lines.map(({ sign, value }) => ({
      text: `t${POWER[sign]} = ${distance(value)}`, showarrow: false, font: { size: 12 }, bgcolor: palette.paper, opacity: 0.9,
      ...(across === "x"
        ? { x: value, y: 1, yref: "paper", yanchor: "bottom", xanchor: value < run.neutral ? "right" : "left" }
        : { y: value, x: 1, xref: "paper", xanchor: "right", yanchor: value < run.neutral ? "top" : "bottom" }),
    })),
  };
}

/** The same of distances that the switch turns: thresholds are of raw D, calibrated ones have none. */
const rawLimitLines = (palette, how = {}) => limitLines(palette, isCalibrated() ? { ...how, signs: [] } : how);

/** What an axis of distances is called; the statistic is named where there is room for it. */
const distanceName = (how = shownDistance) => (how === "calibrated" ? "calibrated " : "") + (narrow() ? "D" : plain(run.distance));

/** plotly reads a little markup in texts: names must come out as they are. */
const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const box of document.querySelectorAll(".chart")) box.redraw();
});
