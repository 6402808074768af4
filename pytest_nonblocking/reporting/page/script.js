"use strict";
(() => {
  const by = (selector, from = document) => [...from.querySelectorAll(selector)];
  const table = document.querySelector("#overview table");
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let one = target; one; one = one.parentElement) {
      one.hidden = false;
      if (one.tagName === "DETAILS") one.open = true;
    }
    target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  if (!table) return;
  const body = table.tBodies[0], rows = [...body.rows];
  const text = document.getElementById("text"), cause = document.getElementById("cause");
  const chips = by(".filters [data-word]"), shown = document.getElementById("shown");
  const filter = () => {
    const wanted = chips.filter((chip) => chip.getAttribute("aria-pressed") === "true").map((chip) => chip.dataset.word);
    const needle = text.value.toLowerCase();
    const fits = (element) => (!wanted.length || wanted.includes(element.dataset.word)) &&
      (!cause?.value || element.dataset.cause === cause.value) && element.dataset.test.toLowerCase().includes(needle);
    for (const one of by("[data-test]")) one.hidden = !fits(one);
    for (const one of by("article.group, section.tests")) one.hidden = by("[data-test]", one).every((test) => test.hidden);
    shown.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} shown`;
  };
  for (const chip of chips) {
    chip.disabled = false;
    chip.setAttribute("aria-pressed", "false");
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
      filter();
    });
  }
  for (const control of [text, cause].filter(Boolean)) {
    control.closest("label").hidden = false;
    for (const event of ["input", "change"]) control.addEventListener(event, filter);
  }
  shown.hidden = false;
  for (const button of by("thead button", table)) {
    button.disabled = false;
    button.addEventListener("click", () => {
      const cell = button.parentElement, column = cell.cellIndex, falling = button.dataset.first === "descending";
      const before = cell.getAttribute("aria-sort");
      const descending = before === "none" ? falling : before === "ascending";
      for (const other of cell.parentElement.cells) other.setAttribute("aria-sort", "none");
      cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.key;
      const compare = button.dataset.kind === "number"
        ? (a, b) => parseFloat(key(a)) - parseFloat(key(b))
        : (a, b) => key(a).localeCompare(key(b));
      rows.sort((a, b) => (descending ? -1 : 1) * compare(a, b));
      body.append(...rows);
    });
  }
  reveal();
})();
