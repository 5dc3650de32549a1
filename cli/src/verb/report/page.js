// A click on a header sorts its table; the page says the same without it.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", function () {
    const header = button.parentElement;
    const rows = header.closest("table").tBodies[0];
    const column = header.cellIndex;
    const down = header.getAttribute("aria-sort") === "ascending";
    for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = function (row) {
      const cell = row.cells[column];
      return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
    };
    const order = function (a, b) {
      const [x, y] = [key(a), key(b)];
      const less = typeof x === "number" ? (typeof y === "number" ? x - y : -1) : typeof y === "number" ? 1 : x.localeCompare(y);
      return down ? -less : less;
    };
    Array.from(rows.rows).sort(order).forEach(function (row) { rows.append(row); });
  });
}
// What is folded on the screen is printed.
let folded = [];
window.addEventListener("beforeprint", function () {
  folded = Array.from(document.querySelectorAll("details:not([open])"));
  folded.forEach(function (details) { details.open = true; });
});
window.addEventListener("afterprint", function () {
  folded.forEach(function (details) { details.open = false; });
});
