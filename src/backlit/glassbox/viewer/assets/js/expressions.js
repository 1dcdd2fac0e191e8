// Formulas of elementwise operations: trees ["mul", "x", ["exp", "y"]] of names, numbers and functions, evaluated here
// without running any code from the record.

import { map, tensor } from "./tensors.js";

const FUNCTIONS = {
  add: (x, y) => x + y,
  sub: (x, y) => x - y,
  mul: (x, y) => x * y,
  div: (x, y) => x / y,
  neg: (x) => -x,
  pow: (x, y) => x ** y,
  abs: Math.abs,
  exp: Math.exp,
  exp2: (x) => 2 ** x,
  expm1: Math.expm1,
  log: Math.log,
  log1p: Math.log1p,
  log2: Math.log2,
  log10: Math.log10,
  sqrt: Math.sqrt,
  square: (x) => x * x,
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  asin: Math.asin,
  acos: Math.acos,
  atan: Math.atan,
  sinh: Math.sinh,
  cosh: Math.cosh,
  tanh: Math.tanh,
  asinh: Math.asinh,
  acosh: Math.acosh,
  atanh: Math.atanh,
  floor: Math.floor,
  ceil: Math.ceil,
  trunc: Math.trunc,
  round: halfToEven,
  sign: Math.sign,
  maximum: (x, y) => (Number.isNaN(x) || Number.isNaN(y) ? NaN : Math.max(x, y)),
  minimum: (x, y) => (Number.isNaN(x) || Number.isNaN(y) ? NaN : Math.min(x, y)),
  atan2: Math.atan2,
  hypot: Math.hypot,
  remainder: (x, y) => x - Math.floor(x / y) * y,
  fmod: (x, y) => x % y,
  logaddexp,
  erf,
  erfc: (x) => (x > 1 ? farErfc(x) : 1 - erf(x)),
  sinc: (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x)),
  where: (condition, x, y) => (condition ? x : y),
  gated: (g, slope) => (g === 0 ? 0 : g * slope),
  isnan: (x) => Number(Number.isNaN(x)),
  logical_and: (x, y) => Number(Boolean(x && y)),
  logical_or: (x, y) => Number(Boolean(x || y)),
  logical_not: (x) => Number(!x),
  gt: (x, y) => Number(x > y),
  ge: (x, y) => Number(x >= y),
  lt: (x, y) => Number(x < y),
  le: (x, y) => Number(x <= y),
  eq: (x, y) => Number(x === y),
  ne: (x, y) => Number(x !== y),
};

/** The value of a tree, given tensors by name. Throws an Error for a function or a name that there is not. */
export function evaluate(tree, named) {
  if (typeof tree === "number") return tensor([], [tree]);
  if (typeof tree === "string") return lookUp(tree, named);
  const [name, ...operands] = tree;
  if (!Object.hasOwn(FUNCTIONS, name)) throw new Error(`no function ${name}`);
  return map(FUNCTIONS[name], ...operands.map((operand) => evaluate(operand, named)));
}

function lookUp(name, named) {
  if (CONSTANTS.has(name)) return tensor([], [CONSTANTS.get(name)]);
  if (!named[name]) throw new Error(`no value for ${name}`);
  return named[name];
}

const CONSTANTS = new Map([
  ["inf", Infinity],
  ["-inf", -Infinity],
  ["nan", NaN],
]);

function halfToEven(x) {
  const rounded = Math.round(x);
  return Math.abs(x % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

function logaddexp(x, y) {
  const most = Math.max(x, y);
  if (!Number.isFinite(most)) return most;
  return most + Math.log1p(Math.exp(-Math.abs(x - y)));
}

/** The error function: its series near zero, a continued fraction beyond. */
function erf(x) {
  if (Number.isNaN(x)) return NaN;
  if (Math.abs(x) > 2.5) return Math.sign(x) * (1 - farErfc(Math.abs(x)));
  let term = x;
  let sum = x;
  for (let n = 1; n < 60; n += 1) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

function farErfc(x) {
  let fraction = 0;
  for (let n = 120; n > 0; n -= 1) fraction = n / 2 / (x + fraction);
  return Math.exp(-x * x) / (Math.sqrt(Math.PI) * (x + fraction));
}
