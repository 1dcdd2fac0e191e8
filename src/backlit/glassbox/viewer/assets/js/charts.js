// Small pictures of tensors: a histogram, a heat map, a table of the numbers.

import { html, svg } from "./dom.js";
import { format, table, toNumber } from "./numbers.js";

const WIDTH = 280;
const HEIGHT = 64;

/** A histogram with its two ends written below. */
export function histogram({ low, high, counts }) {
  const most = Math.max(...counts, 1);
  const bar = WIDTH / counts.length;
  const bars = counts.map((count, i) => {
    const height = count ? Math.max((count / most) * HEIGHT, 1.5) : 0;
    return svg("rect", { x: i * bar + 0.5, y: HEIGHT - height, width: bar - 1, height }, svg("title", {}, `${count}`));
  });
  const label = `Histogram from ${format(low)} to ${format(high)}`;
  const picture = svg(
    "svg",
    { class: "histogram", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
    bars,
  );
  return html(
    "figure",
    {},
    picture,
    html("figcaption", {}, html("span", {}, format(low)), html("span", {}, format(high))),
  );
}

/** A heat map of a matrix of numbers: blue below zero, orange above, white at zero; hatched where not finite. */
export function heatMap({ rows, columns, values }) {
  const numbers = values.map((row) => [row].flat().map(toNumber));
  const most = Math.max(...numbers.flat().filter(Number.isFinite).map(Math.abs), 1e-30);
  const canvas = html("canvas", { class: "heat", width: columns, height: rows, role: "img" });
  canvas.setAttribute("aria-label", `Heat map, ${rows} by ${columns}, largest size ${format(most)}`);
  const context = canvas.getContext("2d");
  numbers.forEach((row, i) => row.forEach((x, j) => paint(context, i, j, x / most)));
  return html(
    "figure",
    {},
    canvas,
    html("figcaption", {}, html("span", {}, `−${format(most)}`), html("span", {}, format(most))),
  );
}

function paint(context, row, column, share) {
  context.fillStyle = heatColour(share);
  context.fillRect(column, row, 1, 1);
}

/** The colour of a number between −1 and 1. */
export function heatColour(share) {
  if (!Number.isFinite(share)) return "rgb(200 0 160)";
  const t = Math.min(Math.abs(share), 1) ** 0.7;
  const [r, g, b] = share < 0 ? [38, 110, 190] : [214, 105, 20];
  return `rgb(${[r, g, b].map((c) => Math.round(255 + (c - 255) * t)).join(" ")})`;
}

/** The numbers themselves, where there are few. */
export function numberTable(numbers) {
  const rows = table(numbers);
  if (!rows) return null;
  return html(
    "table",
    { class: "numbers" },
    rows.map((row) =>
      html(
        "tr",
        {},
        row.map((text) => html("td", {}, text)),
      ),
    ),
  );
}
