// Says so when the page can no longer be refreshed: an old page must not look like a quiet night. And what the
// reader is at survives a refresh: how far a table is scrolled; it waits while a button is pressed or a text is
// selected, though not for long.
"use strict";
const HOLD = 20_000;
let pressed = false, held = 0, scrolled = new Map();

const stale = (is) => {
  const told = document.getElementById("stale");
  if (told) told.hidden = !is;
};
for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout", "htmx:swapError"]) {
  document.addEventListener(name, () => stale(true));
}

document.addEventListener("pointerdown", () => { pressed = true; });
for (const name of ["pointerup", "pointercancel"]) document.addEventListener(name, () => { pressed = false; });

const busy = () => {
  const chosen = getSelection();
  return pressed || (!chosen.isCollapsed && document.getElementById("live")?.contains(chosen.anchorNode));
};
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (!detail.shouldSwap) return;
  held ||= Date.now();
  if (busy() && Date.now() - held < HOLD) {
    detail.shouldSwap = false;
    return;
  }
  held = 0;
  pressed = false;
  scrolled = new Map([...document.querySelectorAll(".scroll")].map((each) => [each.id, each.scrollLeft]));
});
document.addEventListener("htmx:afterSwap", () => {
  stale(false);
  for (const [id, left] of scrolled) document.getElementById(id)?.scrollTo({ left, behavior: "instant" });
});
