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

for (const form of document.querySelectorAll("form.filters[data-table]")) {
  const rows = [...document.getElementById(form.dataset.table).tBodies[0].rows];
  const said = form.querySelector("output");
  const filter = () => {
    const { search = "", ...only } = Object.fromEntries(new FormData(form));
    const words = search.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = Object.entries(only).filter(([, value]) => value !== "");
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = wanted.some(([name, value]) => row.dataset[name] !== value) ||
        words.some((word) => !text.includes(word));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    said.textContent = `${shown} of ${rows.length} ${said.dataset.of ?? "entries"}`;
  };
  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  filter();
}

for (const form of document.querySelectorAll("form.pair")) {
  const [first, second] = form.querySelectorAll("select");
  const names = [...first.options].map((option) => option.value);
  const show = () => {
    for (const part of document.querySelectorAll("[data-model]")) {
      part.hidden = part.dataset.model !== first.value && part.dataset.model !== second.value;
    }
    // The first model on the left, whichever comes first on the board.
    for (const row of document.querySelectorAll("#pairs tr, .side-by-side")) {
      const chosen = (name) => [...row.children].find((part) => part.dataset.model === name);
      for (const part of [chosen(first.value), chosen(second.value)]) if (part) row.append(part);
    }
    for (const grid of document.querySelectorAll(".side-by-side")) grid.classList.add("two");
  };
  const read = () => {
    const asked = decodeURIComponent(location.hash.slice(1)).split("+");
    if (asked.length !== 2 || !asked.every((name) => names.includes(name))) return;
    [first.value, second.value] = asked;
  };
  const change = () => {
    show();
    history.replaceState(null, "", `#${[first.value, second.value].map(encodeURIComponent).join("+")}`);
  };
  form.hidden = false;
  form.addEventListener("change", change);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.elements.swap.addEventListener("click", () => {
    [first.value, second.value] = [second.value, first.value];
    change();
  });
  addEventListener("hashchange", () => { read(); show(); });
  read();
  show();
}
