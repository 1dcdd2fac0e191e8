// What the colours mean.

import { html } from "./dom.js";
import { format } from "./numbers.js";

/** The legend's children for a colouring and its scale. */
export function legend(name, scale) {
  if (name === "kind")
    return [swatch("value", "value"), swatch("gradient", "gradient"), swatch("parameter", "parameter")];
  if (name === "nan") return [swatch("broken", "NaN or infinity")];
  const say = scale.words ?? format;
  if (scale.low === null) return [html("span", {}, `${scale.label}: nothing recorded`)];
  const ramp = [0, 1, 2, 3, 4].map((i) => html("i", { class: `scale-${i}` }));
  return [
    html("span", {}, scale.label),
    html("span", {}, say(scale.low)),
    html("span", { class: "ramp" }, ramp),
    html("span", {}, say(scale.high)),
  ];
}

function swatch(kind, label) {
  return html("span", { class: "swatch" }, html("i", { class: kind }), label);
}
