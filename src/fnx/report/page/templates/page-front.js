// The front page: the table of classes, the search box, and the start of everything.

/** All classes with their top features, in place of the first ones that the page itself holds. */
function classTable() {
  const per = run.topPerClass;
  const topOf = (sign) => (id) => {
    const ids = run.top[sign].features.subarray(id * per, (id + 1) * per);
    const shown = Array.from(ids).filter((one) => one >= 0);
    if (!shown.length) return "none";
    return shown.map((one, i) => el("span", { class: "feature" }, featureLink(one), ` ${number(run.top[sign].distances[id * per + i], 2)}`,
      run.calibrated ? ` (${number(run.top[sign].calibrated[id * per + i], 2)})` : ""));
  };
  return pagedTable({
    rows: range(N_CLASSES), filter: (id) => run.classNames[id], label: "part of a class's name",
    columns: [
      CLASS_COLUMN,
      IMAGES_COLUMN,
      ...SIGNS.map((sign) => numberColumn(`features kept${run.signed ? ` ${WORDS[sign]}` : ""}`, (id) => keptOf(sign)[id])),
      ...SIGNS.map((sign) => ({ title: `top features${run.signed ? ` ${WORDS[sign]}` : ""}`, class: "features", cell: topOf(sign) })),
    ],
  });
}

document.documentElement.classList.add("scripted");
if (run.calibrated) document.getElementById("search-place").before(distanceSwitch());
document.getElementById("search-place").append(searchBox());
document.getElementById("class-table").replaceChildren(classTable());
enliven();
route({ y: history.state?.y ?? null });
// The answer is there without this: it must not wait for the figures' numbers.
addEventListener("load", () => setTimeout(checkFigures, 0));
for (const mark of document.querySelectorAll("[data-layer]")) {
  mark.addEventListener("click", () => { location.hash = address.layer(mark.dataset.layer); });
}
