// Tables that hold thousands of rows: a page of them at a time, sorted by any column, filtered.

/**
 * A table.
 *   columns  [{ title, cell(row) → text or node, value(row) → what to sort by, numeric, sorted, head }]
 *   rows     any values
 *   caption  what is listed
 *   filter   row → text to look in; no filter if absent
 *   empty    what to say instead of no rows
 */
function pagedTable({ columns, rows, caption, filter = null, size = 25, empty = "none", label = "part of a name" }) {
  let page = 0;
  let shown = rows;
  let order = null;
  const body = el("tbody");
  const status = el("span", { role: "status", class: "status" });
  const heads = columns.map((column, i) => el("th", { scope: "col", class: column.numeric ? "n" : null, "aria-sort": column.sorted },
    column.value ? el("button", { type: "button", onclick: () => sortBy(column, heads[i]) }, column.title) : column.title));
  const step = (by, text) => el("button", { type: "button", onclick: () => { page += by; draw(); } }, text);
  const [before, after] = [step(-1, "Previous"), step(1, "Next")];
  const search = filter && el("input", {
    type: "search", placeholder: label, autocomplete: "off", "aria-label": `Filter: ${label}`,
    oninput: select,
  });

  function sortBy(column, cell) {
    order = { column, rising: turned(heads, cell, column.numeric) };
    select();
  }

  function select() {
    page = 0;
    const wanted = search ? search.value.trim().toLowerCase() : "";
    shown = wanted ? rows.filter((row) => filter(row).toLowerCase().includes(wanted)) : rows;
    if (order) shown = ordered(shown, order.column.value, order.column.numeric, order.rising);
    draw();
  }

  function draw() {
    const first = page * size;
    const part = shown.slice(first, first + size);
    body.replaceChildren(...part.map((row) => el("tr", {}, columns.map((column) =>
      el(column.head ? "th" : "td", { scope: column.head ? "row" : null, class: column.numeric ? "n" : column.class },
        column.cell(row))))));
    if (!part.length) body.append(el("tr", {}, el("td", { colspan: columns.length }, empty)));
    status.textContent = shown.length > size || shown.length < rows.length
      ? `${number(part.length ? first + 1 : 0)} to ${number(first + part.length)} of ${number(shown.length)}` : "";
    before.disabled = page === 0;
    after.disabled = first + size >= shown.length;
    before.hidden = after.hidden = shown.length <= size;
  }

  draw();
  return el("div", { class: "paged" },
    el("div", { class: "tools" }, search, before, after, status),
    scrolled(caption || label, el("table", {}, caption ? el("caption", {}, caption) : null,
      el("thead", {}, el("tr", {}, heads)), body)));
}

/** A table that can be scrolled sideways, with the keyboard too. */
const scrolled = (label, table) => el("div", { class: "scroll", role: "region", "aria-label": label, tabindex: "0" }, table);

const numberColumn = (title, value, write = number, more = {}) => ({ title, numeric: true, value, cell: (row) => write(value(row)), ...more });
/** The column of calibrated distances beside one of D, in a run that has them. */
const calibratedColumn = (value) => (run.calibrated ? [numberColumn("calibrated", value, distance)] : []);

/** A column of what is kept, in brackets under random labels; place: where a row's counts lie. */
const keptColumn = (title, { kept, keptRandom }, place) =>
  numberColumn(title, (row) => kept[place(row)], number, { cell: (row) => `${number(kept[place(row)])} (${number(keptRandom[place(row)], 1)})` });
const CLASS_COLUMN = { title: "class", head: true, cell: (id) => classLink(id), value: (id) => run.classNames[id] };
const IMAGES_COLUMN = numberColumn(run.things, (id) => run.classImages[id]);

/** Mark a heading as the one that is sorted by; whether it is now ascending. */
function turned(heads, head, numeric) {
  const earlier = head.getAttribute("aria-sort");
  const rising = earlier ? earlier === "descending" : !numeric;
  for (const other of heads) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", rising ? "ascending" : "descending");
  return rising;
}

/** Rows in the order of a value; numbers that are not there come first. */
function ordered(rows, value, numeric, rising) {
  const known = (one) => (Number.isNaN(one) || one === null ? -Infinity : one);
  const keyed = rows.map((row) => [numeric ? known(value(row)) : value(row), row]);
  keyed.sort(([a], [b]) => {
    const by = numeric ? (a < b ? -1 : a > b ? 1 : 0) : a.localeCompare(b, undefined, { numeric: true });
    return rising ? by : -by;
  });
  return keyed.map(([, row]) => row);
}

/** A bar from the middle, to the right for presence and to the left for absence. */
function signedBar(value) {
  const part = Math.min(1, Math.abs(value - run.neutral) / REACH) * (run.signed ? 50 : 100);
  const absent = value < run.neutral;
  const bar = el("i", { class: absent ? "absent" : "present" });
  bar.style.cssText = `${absent ? "right:50%" : `left:${run.signed ? 50 : 0}%`};width:${part}%`;
  return el("span", { class: `strip${run.signed ? " signed" : ""}`, "aria-hidden": "true" }, bar);
}
