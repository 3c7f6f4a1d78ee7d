"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const all = (where, what) => Array.from(where.querySelectorAll(what));
  const search = $("search"), only = $("only"), found = $("found");
  const rows = all(document, "[data-name]");
  // Rows that a search unfolded; they are folded again afterwards.
  const unfolded = new Set();
  const above = (row) => row.parentElement.closest("li[data-name]");

  const apply = () => {
    const word = search.value.trim().toLowerCase();
    for (const row of rows) row.classList.remove("hit", "way");
    const hits = word ? rows.filter((row) => row.dataset.name.toLowerCase().includes(word)) : [];
    for (const row of hits) {
      row.classList.add("hit");
      for (let up = above(row); up && !up.classList.contains("way"); up = above(up)) up.classList.add("way");
    }
    for (const details of unfolded) details.open = false;
    unfolded.clear();
    for (const details of all(document, ".way > details:not([open])")) {
      details.open = true;
      unfolded.add(details);
    }
    // A row comes before the rows below it.
    const below = new Set();
    for (const row of rows) {
      const up = above(row);
      const inside = row.classList.contains("hit") || (up !== null && below.has(up));
      if (inside) below.add(row);
      const searched = !word || inside || row.classList.contains("way");
      row.hidden = !searched || (only.checked && !("changed" in row.dataset));
    }
    for (const block of all(document, ".step, .case")) {
      const filtered = word !== "" || only.checked;
      block.hidden = filtered && !block.querySelector("[data-name]:not([hidden])");
    }
    for (const entry of all(document, "nav li")) entry.hidden = $(entry.dataset.case).hidden;
    found.value = word ? `${hits.length} found` : "";
  };
  const fold = (open) => {
    unfolded.clear();
    for (const details of all(document, ".tree details")) details.open = open;
  };

  search.addEventListener("input", apply);
  only.addEventListener("change", apply);
  $("fold").addEventListener("click", () => fold(false));
  $("unfold").addEventListener("click", () => fold(true));
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== search) {
      event.preventDefault();
      search.focus();
    } else if (event.key === "Escape" && document.activeElement === search) {
      event.preventDefault();
      search.value = "";
      apply();
    }
  });
  // A reloaded page may still have the text that was typed.
  apply();
})();
