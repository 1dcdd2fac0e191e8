// Keys, and the overlay that lists them.

import { button, html } from "./dom.js";

const KEYS = [
  ["space", "play or pause"],
  ["→ ←", "one step on, one step back; beside a focused node: go to a neighbour"],
  ["Home End", "to the start, to the end"],
  ["+ −", "zoom in, zoom out"],
  ["0", "show everything"],
  ["shift arrows", "move the picture"],
  ["/", "search"],
  ["Tab", "go through the nodes"],
  ["Enter", "open or close the module, show the node"],
  ["b", "forward, backward or both networks"],
  ["d", "light or dark"],
  ["Esc", "close what is open, select nothing"],
  ["?", "this help"],
];

/** The overlay; it is shown and hidden by its `hidden` attribute. */
export function helpOverlay(close) {
  const list = KEYS.map(([key, text]) => [
    html(
      "dt",
      {},
      key.split(" ").map((part) => html("kbd", {}, part)),
    ),
    html("dd", {}, text),
  ]);
  const content = html(
    "div",
    { class: "sheet" },
    html("h2", {}, "Keys"),
    html("dl", {}, list),
    MOUSE,
    button("Close", "Close the help", close),
  );
  return html(
    "div",
    { class: "help", role: "dialog", "aria-modal": "true", "aria-label": "Help", hidden: true, onclick: close },
    content,
  );
}

const MOUSE = "Drag to move, wheel or pinch to zoom, click for details, double-click a module to open or close it.";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** What a key press means, as [name of a command, ...arguments], or null. */
export function command(event, onItem) {
  const arrow = ARROWS[event.key];
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  if (arrow && event.shiftKey) return ["pan", -arrow[0] * 80, -arrow[1] * 80];
  if (arrow && onItem) return ["neighbour", ...arrow];
  if (arrow) return arrow[0] ? ["step", arrow[0]] : null;
  return SINGLE[event.key] ?? null;
}

const SINGLE = {
  " ": ["play"],
  Home: ["seek", 0],
  End: ["seek", Infinity],
  "+": ["zoom", 1.25],
  "=": ["zoom", 1.25],
  "-": ["zoom", 0.8],
  "−": ["zoom", 0.8],
  0: ["fit"],
  "/": ["search"],
  Enter: ["activate"],
  b: ["direction"],
  d: ["theme"],
  Escape: ["escape"],
  "?": ["help"],
};

/** The nearest place in a direction, or null; places are [thing, {x, y}]. */
export function nearest(from, places, [dx, dy]) {
  let best = null;
  let least = Infinity;
  for (const [thing, { x, y }] of places) {
    const along = (x - from.x) * dx + (y - from.y) * dy;
    const across = Math.abs((x - from.x) * dy) + Math.abs((y - from.y) * dx);
    const cost = along + 2 * across;
    if (along > 4 && cost < least) [best, least] = [thing, cost];
  }
  return best;
}
