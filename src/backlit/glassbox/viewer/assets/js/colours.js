// Colouring nodes by what happens in them: five steps of one hue, chosen in the style sheet, and red for NaN.

import { flatValues, isBroken, percent, toNumber } from "./numbers.js";

const STEPS = 5;

/** What nodes can be coloured by: label, the number of a node (null: no colour), and whether its logarithm is taken. */
export const COLOURINGS = {
  kind: { label: "kind" },
  gradient: { label: "gradient norm", of: (node, values) => norm(values.upstream(node)), logarithmic: true },
  value: { label: "value scale", of: (node, values) => scale(values.value(node)), logarithmic: true },
  saturation: { label: "saturation (gradient blocked)", of: blockedShare, low: 0, high: 1, words: percent },
  nan: { label: "NaN and infinity" },
};

function norm(numbers) {
  return numbers ? toNumber(numbers.stats?.norm ?? Math.hypot(...(flatValues(numbers) ?? [NaN]))) : null;
}

function scale(numbers) {
  return numbers?.stats ? toNumber(numbers.stats.absmax) : null;
}

/** The share of zeros that an operation adds to the gradient on its way to an input: closed or saturated gates. */
function blockedShare(node, values) {
  const before = values.upstream(node)?.stats?.zeros;
  const shares = node.inputs
    .map((edge) => values.downstream(edge)?.stats?.zeros)
    .filter((share) => share !== undefined);
  if (before === undefined || !shares.length) return null;
  return Math.max(0, Math.max(...shares) - before);
}

/** {classOf(item), low, high, label}: a class for every item, and the ends of the scale for the legend. */
export function colouring(name, view, values) {
  const { of, logarithmic, label, low, high, words } = COLOURINGS[name];
  if (name === "nan")
    return { classOf: (item) => (members(item).some((node) => isNotFinite(node, values)) ? "broken" : ""), label };
  if (!of) return { classOf: () => "", label };
  const numbers = new Map();
  for (const item of view.items.values()) numbers.set(item, largest(members(item), of, values));
  const known = [...numbers.values()].filter((x) => Number.isFinite(x) && (!logarithmic || x > 0));
  const measure = logarithmic ? Math.log10 : (x) => x;
  const [bottom, top] = [low ?? Math.min(...known), high ?? Math.max(...known)];
  const step = (x) => stepOf(measure(x), measure(bottom), measure(top));
  const classOf = (item) => {
    if (members(item).some((node) => isAlarming(node, values))) return "broken";
    const x = numbers.get(item);
    if (x === null || Number.isNaN(x)) return "";
    return logarithmic && x <= 0 ? "scale-zero" : `scale-${step(x)}`;
  };
  return { classOf, label, low: known.length ? bottom : null, high: known.length ? top : null, words };
}

function isNotFinite(node, values) {
  return isBroken(values.value(node)) || isBroken(values.upstream(node));
}

/** NaN anywhere, or an infinite gradient; infinite values alone are what masks are made of. */
function isAlarming(node, values) {
  return values.value(node)?.stats?.nans > 0 || isBroken(values.upstream(node));
}

function members(item) {
  return item.group ? item.group.all : [item.node];
}

function largest(nodes, of, values) {
  let most = null;
  for (const node of nodes) {
    const x = of(node, values);
    if (x !== null && Number.isFinite(x) && (most === null || x > most)) most = x;
  }
  return most;
}

function stepOf(x, low, high) {
  if (high <= low) return STEPS - 1;
  return Math.min(STEPS - 1, Math.max(0, Math.floor(((x - low) / (high - low)) * STEPS)));
}
