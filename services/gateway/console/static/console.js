// Says so when the page can no longer be refreshed: an old page must not look like a quiet night.
"use strict";
const stale = (is) => {
  const told = document.getElementById("stale");
  if (told) told.hidden = !is;
};
for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
  document.addEventListener(name, () => stale(true));
}
document.addEventListener("htmx:afterSwap", () => stale(false));
