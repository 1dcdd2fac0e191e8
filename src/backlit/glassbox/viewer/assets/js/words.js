// A step said in words, symbols and numbers.

import { carried } from "./boxes.js";
import { spoken } from "./model.js";
import { format, gradientLabel, shapeText, sizeOf, valueText } from "./numbers.js";

const MOST_TERMS = 5;

/** {heading, symbols, numbers, gate}: what a step does; parts that say nothing are null. */
export function describe(step, values) {
  return SENTENCES[step.kind](step, values);
}

const SENTENCES = { forward, seed, join, local, leaf };

/** The derivative of the result with respect to a node, as a symbol. */
export function derivative(node, values) {
  return `∂${rootName(values)}/∂${spoken(node)}`;
}

function rootName(values) {
  const [id] = values.pass.seeds.keys();
  return id === undefined ? "L" : spoken(values.model.byId.get(id));
}

function forward({ node }, values) {
  return {
    heading: `Forward: ${spoken(node)}`,
    symbols: node.formula ?? node.op,
    numbers: forwardNumbers(node, values),
    gate: node.expression ? `${spoken(node)} = ${node.expression}` : null,
  };
}

function forwardNumbers(node, values) {
  const result = valueText(values.value(node), 4);
  const inputs = node.inputs.map((edge) => values.value(edge.source));
  const scalars = inputs.every((input) => input && sizeOf(input.shape) === 1) && result !== null;
  if (scalars && node.formula?.includes("=")) return `= ${substituted(node, inputs)} = ${result}`;
  const shapes = node.inputs.map((edge) => shapeText(edge.source.shape)).join(", ");
  return `${shapes} → ${shapeText(node.shape)}${result === null ? "" : ` = ${result}`}`;
}

/** The right-hand side of a formula with its inputs' names replaced by their numbers. */
function substituted(node, inputs) {
  const numbers = new Map(node.inputs.map((edge, i) => [edge.argument, valueText(inputs[i])]));
  const right = node.formula.slice(node.formula.indexOf("=") + 1).trim();
  return right.replace(
    /(?<![\p{L}\p{N}_])[\p{L}_]+(?![\p{L}\p{N}_(])/gu,
    (name) => bracketed(numbers.get(name)) ?? name,
  );
}

function bracketed(number) {
  return number?.startsWith("−") ? `(${number})` : number;
}

function seed({ node }, values) {
  return {
    heading: "The backward pass starts",
    symbols: derivative(node, values),
    numbers: `= ${gradientLabel(values.seed(node))}`,
    gate: "The gradient of the result with respect to itself.",
  };
}

function join({ node, terms }, values) {
  const parts = terms.map((edge) => gradientLabel(values.downstream(edge)));
  const products = terms.map((edge) => chainProduct(edge, values));
  if (values.seed(node)) {
    parts.unshift(gradientLabel(values.seed(node)));
    products.unshift("seed");
  }
  const signed = parts.map((part, i) => (i ? bracketed(part) : part));
  return {
    heading: `Sum at ${spoken(node)}: ${parts.length} paths meet`,
    symbols: `${derivative(node, values)} = ${added(products)}`,
    numbers: `= ${added(signed)} = ${gradientLabel(values.upstream(node))}`,
    gate: "A value that is used more than once receives the sum of what its uses send back.",
  };
}

/** A sum of at most a few terms; more are counted. */
function added(terms) {
  const rest = terms.length - MOST_TERMS;
  return terms.slice(0, MOST_TERMS).join(" + ") + (rest > 0 ? ` + … (${rest} more)` : "");
}

/** "∂f/∂q · ∂q/∂x": the upstream gradient of an edge times its local one. */
function chainProduct({ source, target }, values) {
  return `${derivative(target, values)} · ∂${spoken(target)}/∂${spoken(source)}`;
}

function local({ node, edge }, values) {
  const here = values.local(edge);
  return {
    heading: `Backward: ${node.op} to ${spoken(edge.source)}`,
    symbols: `${derivative(edge.source, values)} = ${chainProduct(edge, values)}${formula(here)}${share(edge, values)}`,
    numbers: `= ${product(edge, here, values)}`,
    gate: [rule(node, here), meanings(edge, here, values), summed(edge, values)].filter(Boolean).join(". ") || null,
  };
}

function formula(here) {
  return here?.rule ? ` = ${here.rule.formula}` : "";
}

/** What the names mean in the formula of an edge: "δ = ∂f/∂z, n = 4"; empty where there is no formula. */
export function meanings(edge, here, values) {
  return here?.rule ? [`δ = ${derivative(edge.target, values)}`, ...here.rule.meanings].join(", ") : "";
}

function rule(node, here) {
  if (here?.text && here.kind !== "scalar") return here.text;
  return node.gate && `${node.op} ${node.gate}`;
}

function share(edge, values) {
  return values.terms(edge.source).length > 1 ? "  (one of the terms)" : "";
}

/** "upstream −4 × local 3 = −12", and the like for tensors. */
export function product(edge, here, values) {
  const upstream = gradientLabel(values.upstream(edge.target)) ?? "?";
  const downstream = gradientLabel(values.downstream(edge)) ?? "?";
  if (here?.kind === "scalar" && here.value) {
    return `upstream ${upstream} × local ${format(scalarOf(here.value))} = ${downstream}`;
  }
  const [from, to] = [edge.target, edge.source].map((node) => shapeText(node.shape));
  return `upstream ${upstream} of ${from} × local = ${downstream} of ${to}`;
}

function scalarOf(value) {
  return typeof value === "object" ? [value.values].flat(Infinity)[0] : value;
}

/** How broadcasting was undone along an edge; empty where it was not needed. */
export function summed(edge, values) {
  const axes = values.summedAxes(edge);
  return axes?.length ? `Broadcasting undone: summed over ax${axes.length > 1 ? "es" : "is"} ${axes.join(", ")}` : "";
}

function leaf({ node }, values) {
  const { before, after } = values.leaf(node);
  const own = gradientLabel(values.upstream(node));
  return {
    heading: `${spoken(node)}.grad`,
    symbols: before
      ? `${spoken(node)}.grad = what was there + ${derivative(node, values)}`
      : `${spoken(node)}.grad = ${derivative(node, values)}`,
    numbers: before
      ? `= ${gradientLabel(before)} + ${own} = ${gradientLabel(after) ?? own}`
      : `= ${gradientLabel(after) ?? own}`,
    gate: before ? "Gradients accumulate until they are set to zero." : null,
  };
}

/** What is shown while the pointer rests on a node: its first sentence and the numbers and texts that matter most. */
export function itemHint({ node }, first, values) {
  if (!node) return first;
  const gradient = gradientLabel(values.upstream(node));
  const lines = [
    first,
    node.formula,
    node.gate,
    `value ${valueText(values.value(node)) ?? shapeText(node.shape)}`,
    gradient === null ? null : `${derivative(node, values)} ${gradient}`,
    node.source?.text ? `${node.source.line}: ${node.source.text.trim()}` : null,
  ];
  return lines.filter(Boolean).join("\n");
}

/** A wire in one sentence, for screen readers and tooltips. */
export function wireSentence(wire, values, gradient) {
  const node = carried(wire);
  const what = valueText(values.value(node)) ?? shapeText(node.shape);
  const back = gradientLabel(gradient);
  const to = wire.to ? ` to ${wire.to.group?.label ?? spoken(wire.to.node)}` : "";
  return `${spoken(node)} = ${what}${to}${back === null ? "" : `, gradient ${back}`}`;
}
