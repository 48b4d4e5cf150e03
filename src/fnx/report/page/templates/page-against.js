// A class against another: which features are present in the one and absent in the other.

const MAX_LOOKED_UP = 40; // of each class's top features, where D between the two was not measured

/** In the view of a class: the classes most like it, and a box to choose any other. */
function againstSection(id) {
  if (N_CLASSES < 2) return null;
  const nearest = Array.from(run.alike.subarray(id * (run.alike.length / N_CLASSES), (id + 1) * (run.alike.length / N_CLASSES)));
  return el("section", {},
    el("h2", {}, "Against another class"),
    el("p", {}, "What tells it from the classes that the features find most alike: ",
      nearest.flatMap((other, i) => [i ? ", " : "", el("a", { href: address.against(id, other) }, shorten(run.classNames[other], 60))]), "."),
    el("div", { class: "tools" }, combobox({
      label: "Another class", find: (text) => findClasses(text).filter((item) => item.id !== id),
      choose: (item) => { location.hash = address.against(id, item.id); },
    })));
}

/** Features of two classes with D of each and, where it was measured, between the two. */
async function contrastRows(id, other) {
  const [low, high] = [Math.min(id, other), Math.max(id, other)];
  const found = run.against.includes(low) ? (await chunk(`against-${low}`))[high] : null;
  if (found) {
    const [between, own, theirs] = id < other ? [found.forth, found.first, found.second] : [found.back, found.second, found.first];
    return Array.from(found.features, (feature, i) => ({ id: feature, between: between[i], own: own[i], theirs: theirs[i] }));
  }
  const tops = await Promise.all([classData(id), classData(other)]);
  const ids = [...new Set(tops.flatMap((top) => SIGNS.flatMap((sign) => Array.from(top[sign].features.subarray(0, MAX_LOOKED_UP)))))];
  const distances = await Promise.all(ids.map(featureData));
  return ids.map((feature, i) => ({ id: feature, between: NaN, own: distances[i].distances[id], theirs: distances[i].distances[other] }))
    .filter((row) => !Number.isNaN(row.own - row.theirs));
}

const STATE = { "+": "present", "-": "absent", "": "within noise" };

function contrastPart(rows, [first, second], [id, other], measured, colour) {
  return el("section", {},
    el("h2", {}, ...(run.signed || !measured
      ? [el("span", { class: colour }, `Higher in ${shorten(first, 60)}`), ` than in ${shorten(second, 60)}`]
      : [`What tells ${shorten(first, 60)} from ${shorten(second, 60)}`])),
    rows.length ? el("div", { class: "cards" }, rows.map((row) => featureCard(row.id, measured ? row.between : row.own))) : el("p", {}, "None."),
    rows.length ? pagedTable({
      rows, caption: `D of each class is that against all other classes${measured ? `; D between, that on the ${run.things} of the two alone` : ""}.`,
      columns: [
        { title: "feature", head: true, cell: (row) => featureLink(row.id), value: (row) => feature(row.id).label },
        ...(measured ? [numberColumn("D between", (row) => row.between, distance)] : []),
        numberColumn(`D, ${shorten(run.classNames[id], 24)}`, (row) => row.own, distance),
        { title: "", cell: (row) => STATE[keptSign(row.own, id)], value: (row) => keptSign(row.own, id) },
        numberColumn(`D, ${shorten(run.classNames[other], 24)}`, (row) => row.theirs, distance),
        { title: "", cell: (row) => STATE[keptSign(row.theirs, other)], value: (row) => keptSign(row.theirs, other) },
      ],
    }) : null);
}

function classSprite(id) {
  const name = shorten(run.classNames[id], 80);
  return el("figure", {},
    run.classPictures.includes(id) ? el("img", { class: "sprite", src: `pictures/classes/${id}.jpg`, alt: `Sample images of ${name}`, width: 240, height: 240 }) : null,
    el("figcaption", {}, classLink(id), `: ${number(run.classImages[id])} ${run.things}`));
}

async function againstView(id, other) {
  const rows = await contrastRows(id, other);
  const measured = rows.some((row) => !Number.isNaN(row.between));
  const apart = (row) => (measured ? row.between - run.neutral : row.own - row.theirs);
  const names = [id, other].map((one) => run.classNames[one]);
  const part = (side) => rows.filter((row) => side * apart(row) > 0)
    .sort((a, b) => side * (apart(b) - apart(a)) || side * (b.own - b.theirs - a.own + a.theirs) || a.id - b.id).slice(0, CARDS);
  return view({ kicker: "Class against class", title: `${shorten(names[0], 70)} against ${shorten(names[1], 70)}` },
    el("p", {}, el("a", { href: address.against(other, id) }, "The other way round"), " · ", classLink(id), " · ", classLink(other)),
    el("div", { class: "pair" }, classSprite(id), classSprite(other)),
    el("p", { class: "lead" }, measured
      ? `Features that tell the two apart: D is measured on the ${run.things} of the two alone${run.signed ? `; above ${run.neutral}, the feature is higher in ${shorten(names[0], 60)}` : ""}.`
      : "Features that tell the two apart, by their D for each against all other classes."),
    contrastPart(part(1), names, [id, other], measured, "presence"),
    run.signed || !measured ? contrastPart(part(-1), [...names].reverse(), [id, other], measured, "absence") : null,
    el("p", {}, measured ? "Of the features whose D of the two classes lies farthest apart. All features, with shares and random labels: " : "D between the two, of all features: ",
      el("code", {}, `python -m fnx show RUN --class ${id} --against ${other}`)));
}
