// Tables that sort: table.sortable; a cell's data-value is what counts, else its text. The order is kept in the address.

export function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (head.dataset.sort === "no") return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row) => [value(row.cells[column]), row]);
      rows.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0) * (down ? -1 : 1));
      body.append(...rows.map(([, row]) => row));
    });
  });
}

function value(cell) {
  const text = cell?.dataset.value ?? cell?.textContent.trim() ?? "";
  const number = Number(text.replace(/[,\s%]/g, "").replace("−", "-"));
  return text !== "" && !Number.isNaN(number) ? number : text.toLowerCase();
}
