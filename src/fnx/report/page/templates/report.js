// Sorts the tables that the page holds as a whole, by a click on a heading.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, i) => {
    const text = row.cells[i].textContent.trim();
    const value = parseFloat(text.replace(/,/g, "").replace("−", "-"));
    return heads[i].classList.contains("n") ? (Number.isNaN(value) ? -Infinity : value) : text;
  };
  heads.forEach((head, i) => {
    if ("plain" in head.dataset) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const numeric = head.classList.contains("n");
      const before = head.getAttribute("aria-sort");
      const rising = before ? before === "descending" : !numeric;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [key(row, i), row]);
      rows.sort(([a], [b]) => {
        const order = numeric ? (a < b ? -1 : a > b ? 1 : 0) : a.localeCompare(b, undefined, { numeric: true });
        return rising ? order : -order;
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
}
