// Signs on buttons, drawn, so that they look the same whatever fonts there are.

import { svg } from "./dom.js";

const PATHS = {
  play: "M5 3l9 5-9 5z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  back: "M11 3L4 8l7 5z",
  next: "M5 3l7 5-7 5z",
  start: "M3 3h2v10H3zM13 3L6 8l7 5z",
  end: "M11 3h2v10h-2zM3 3l7 5-7 5z",
  plus: "M7 3h2v4h4v2H9v4H7V9H3V7h4z",
  minus: "M3 7h10v2H3z",
  whole: "M2 2h5v2H4v3H2zM9 2h5v5h-2V4H9zM2 9h2v3h3v2H2zM12 9h2v5H9v-2h3z",
  theme: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zm0 2v8a4 4 0 0 0 0-8z",
  cross: "M4 3l4 4 4-4 1 1-4 4 4 4-1 1-4-4-4 4-1-1 4-4-4-4z",
};

/** A small picture by name, in the colour of the text. */
export function icon(name) {
  const path = svg("path", { d: PATHS[name], "fill-rule": "evenodd" });
  return svg(
    "svg",
    { class: "icon-picture", viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" },
    path,
  );
}
