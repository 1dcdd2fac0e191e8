// What is written in each box and on each wire, and how large it therefore is.

import { shorten, textWidth } from "./measure.js";
import { shortName, symbol, variable } from "./model.js";
import { gradientLabel, shapeText, sizeOf, valueLabel, valueText } from "./numbers.js";
import { summary } from "./view.js";

const CIRCLE = 36;
const LABEL_HEIGHT = 38;
const CAPTION = 15;

/** A constant that is drawn as the number it is: then its wire says nothing more. */
export function isPlainNumber(node) {
  return node.kind === "constant" && sizeOf(node.shape) === 1 && valueText(node.value) !== null;
}

/** {shape, title, subtitle, caption, width, height} of an item; height counts a caption twice, to keep it centred. */
export function boxOf(item) {
  if (item.group) return groupBox(item.group);
  return item.node.kind === "operation" ? operationBox(item.node) : leafBox(item.node);
}

function groupBox(group) {
  const title = shorten(group.label, 36);
  const subtitle = summary(group);
  const width = Math.max(textWidth(title, "node"), textWidth(subtitle, "small")) + 32;
  return { shape: "group", title, subtitle, width, height: 50 };
}

function operationBox(node) {
  const title = shorten(symbol(node), 22);
  const caption = variable(node) && shorten(variable(node), 18);
  const round = title.length <= 2;
  const width = round ? CIRCLE : Math.max(textWidth(title, "node") + 24, CIRCLE + 6);
  const height = (round ? CIRCLE : 32) + (caption ? 2 * CAPTION : 0);
  const captioned = caption ? textWidth(caption, "small") : 0;
  return {
    shape: round ? "circle" : "pill",
    title,
    caption,
    captionHeight: CAPTION,
    width,
    height,
    outer: Math.max(width, captioned),
  };
}

function leafBox(node) {
  if (isPlainNumber(node)) {
    const title = valueText(node.value);
    return { shape: "number", title, width: textWidth(title, "number") + 14, height: 24 };
  }
  const title = shorten(shortName(node), 26);
  const subtitle = node.shape.length ? shapeText(node.shape) : null;
  const width = Math.max(textWidth(title, "node"), subtitle ? textWidth(subtitle, "small") : 0) + 22;
  return { shape: "leaf", title, subtitle, width: Math.max(width, 34), height: subtitle ? 42 : 30 };
}

/** The node whose value a wire carries. */
export function carried(wire) {
  return wire.root ?? wire.edges[0].source;
}

/** {above, below}: the value that a wire carries, and the gradient that comes back along it (null for none). */
export function wireLabel(wire, numbers) {
  const node = carried(wire);
  if (isPlainNumber(node)) return { above: null, below: null };
  return { above: valueLabel(numbers.value(node), node.shape), below: gradientLabel(wireGradient(wire, numbers)) };
}

/** What a wire's operation multiplies by on the way back: a number, or what it does to δ, such as "⊙ relu′". */
export function factorLabel(wire, numbers) {
  if (wire.root) return "seed";
  const local = wire.edges.length === 1 && wire.to.node ? numbers.local(wire.edges[0]) : null;
  if (!local) return null;
  if (local.kind === "scalar" && local.value) return `× ${factorText(local.value)}`;
  return local.rule?.label || "× local";
}

function factorText(value) {
  const number = typeof value === "object" ? [value.values].flat(Infinity)[0] : value;
  return String(Number(Number(number).toPrecision(4))).replace("-", "−");
}

/** The gradient that a wire brings back: the sum over the edges it stands for. */
export function wireGradient(wire, numbers) {
  if (wire.root) return numbers.seed(wire.root) ?? null;
  if (wire.edges.length === 1) return numbers.downstream(wire.edges[0]);
  return numbers.sumOf(wire.edges);
}

/** The size of a wire's label, or null where it has none. */
export function labelBox(wire, numbers) {
  const { above, below } = wireLabel(wire, numbers);
  if (above === null && below === null) return null;
  const texts = [above, below, factorLabel(wire, numbers)].map((text) => textWidth(text ?? "", "number"));
  const width = Math.max(...texts, 20) + 12;
  return { width, height: LABEL_HEIGHT };
}
