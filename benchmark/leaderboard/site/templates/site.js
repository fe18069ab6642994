"use strict";
// Sorting and filtering. Without this script every page is complete, only still.

const collator = new Intl.Collator("en", { numeric: true });

function compare(a, b) {
  // What has no value comes last, whichever way the rest is sorted.
  if (a === "" || b === "") return null;
  return isNaN(a) || isNaN(b) ? collator.compare(a, b) : a - b;
}

function sort(table, column, descending) {
  const body = table.tBodies[0];
  const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  const rows = [...body.rows].map((row) => [value(row), row]);
  rows.sort(([a], [b]) => {
    const order = compare(a, b);
    if (order === null) return (a === "") - (b === "");
    return descending ? -order : order;
  });
  body.append(...rows.map(([, row]) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    if (header.hasAttribute("data-fixed")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const descending = header.getAttribute("aria-sort") === "ascending";
      for (const other of headers) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sort(table, column, descending);
    });
  });
}

for (const form of document.querySelectorAll("form.filters")) {
  const rows = [...document.getElementById(form.dataset.table).tBodies[0].rows];
  const said = form.querySelector("output");
  const filter = () => {
    const wanted = [...new FormData(form)].filter(([, value]) => value !== "");
    for (const row of rows) {
      row.hidden = wanted.some(([name, value]) => row.dataset[name] !== value);
    }
    const shown = rows.filter((row) => !row.hidden).length;
    said.textContent = `${shown} of ${rows.length} entries`;
  };
  form.hidden = false;
  form.addEventListener("change", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  filter();
}
