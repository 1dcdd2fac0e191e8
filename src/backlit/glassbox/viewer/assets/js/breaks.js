// Conditions at which the walk stops.

import { isBroken, toNumber } from "./numbers.js";

/** What can be asked of a step: kind → {label, argument, make(argument, values) → test of a step}. */
export const CONDITIONS = {
  norm: {
    label: "gradient norm >",
    argument: "10",
    make: (text, values) => {
      const limit = Number(text);
      return (step) => step.kind === "local" && toNumber(values.downstream(step.edge)?.stats?.norm) > limit;
    },
  },
  nan: { label: "NaN or infinity", argument: null, make: (_, values) => (step) => isBroken(resultOf(step, values)) },
  op: { label: "operation is", argument: "mul", make: (text) => (step) => step.node.op === text.trim() },
  module: {
    label: "module is in",
    argument: "layers.0",
    make: (text) => (step) => `.${step.node.path.join(".")}.`.includes(`.${text.trim()}.`),
  },
  name: { label: "node is", argument: "", make: (text) => (step) => step.node.name === text.trim() },
};

/** The numbers that a step brings. */
export function resultOf(step, values) {
  if (step.kind === "forward") return values.value(step.node);
  return step.kind === "local" ? values.downstream(step.edge) : values.upstream(step.node);
}

/** A break point of a kind, or the reason why its argument will not do, as {error}. */
export function breakPoint(kind, argument, values) {
  const condition = CONDITIONS[kind];
  if (condition.argument !== null && !argument.trim()) return { error: `Say what: ${condition.label} …` };
  if (kind === "norm" && !Number.isFinite(Number(argument))) return { error: `"${argument}" is not a number.` };
  const label = condition.argument === null ? condition.label : `${condition.label} ${argument.trim()}`;
  return { label, holds: condition.make(argument, values) };
}
