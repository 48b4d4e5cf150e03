// Sorts the tables that the page holds as a whole, by a click on a heading.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, i) => {
    if ("plain" in head.dataset) return;
    const numeric = head.classList.contains("n");
    const value = (row) => {
      const text = row.cells[i].textContent.trim();
      return numeric ? parseFloat(text.replace(/,/g, "").replace("−", "-")) : text;
    };
    head.append(el("button", {
      type: "button", onclick: () => body.append(...ordered([...body.rows], value, numeric, turned(heads, head, numeric))),
    }, [...head.childNodes]));
  });
}
