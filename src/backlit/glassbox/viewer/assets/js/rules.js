// Operations that can be computed again in the page, forward and backward. Elementwise ones come from the formulas that
// the record brings along; the others are written here.

import { evaluate } from "./expressions.js";
import { expand, keptShape, map, matmul, permute, tensor, unbroadcast } from "./tensors.js";
import { sizeOf } from "./numbers.js";

const transposed = (x) => permute(x, [1, 0]);
const asMatrix = (x, rows) => tensor(rows ? [1, x.shape[0]] : [x.shape[0], 1], x.data);

/** How a rule is written: forward(inputs, node) and backward(g, inputs, position, node), all on tensors. */
const RULES = {
  matmul: {
    forward: ([a, b]) => matmul(a, b),
    backward: matmulBackward,
    fits: (inputs) => inputs.every((x) => x.shape.length <= 2),
  },
  linear: { forward: linear, backward: linearBackward, fits: ([x]) => x.shape.length === 2 },
  sum: {
    forward: ([x], node) => reshaped(unbroadcast(x, keptShape(x.shape, node.params.axis)), node.shape),
    backward: (g, [x], _, node) => expand(reshaped(g, keptShape(x.shape, node.params.axis)), x.shape),
  },
  mean: {
    forward: ([x], node) => scaled(RULES.sum.forward([x], node), sizeOf(node.shape) / x.data.length),
    backward: (g, [x], _, node) => scaled(RULES.sum.backward(g, [x], 0, node), sizeOf(node.shape) / x.data.length),
  },
  reshape: { forward: ([x], node) => reshaped(x, node.shape), backward: (g, [x]) => reshaped(g, x.shape) },
  permute: {
    forward: ([x], node) => permute(x, node.params.dims),
    backward: (g, _, __, node) => permute(g, inverse(node.params.dims)),
  },
  expand: { forward: ([x], node) => expand(x, node.shape), backward: (g, [x]) => unbroadcast(g, x.shape) },
  clone: { forward: ([x]) => x, backward: (g) => g },
  cast: { forward: ([x]) => x, backward: (g) => g, fits: (_, node) => node.dtype.startsWith("float") },
  softmax: { forward: ([x], node) => softmax(x, node), backward: softmaxBackward },
  cross_entropy: {
    forward: ([x, target], { params }) =>
      reduced(
        map((p) => -Math.log(p), ofClasses(softmax(x, ROWS), target)),
        params.reduction,
      ),
    backward: crossEntropyBackward,
    fits: ([x, target, weight], { params }) => !weight && params.smoothing === 0 && areClasses(x, target),
  },
  log_softmax: { forward: ([x], node) => map(Math.log, softmax(x, node)), backward: logSoftmaxBackward },
};

const ROWS = { params: { axis: 1 } };

/** The rule of a node for given inputs, or null where the page has none. */
export function ruleFor(node, inputs, programs) {
  const program = programs.list?.[programs.of?.[node.id]];
  if (program) return elementwise(program);
  const rule = Object.hasOwn(RULES, node.op) ? RULES[node.op] : null;
  const set = { op: node.op, shape: node.shape, dtype: node.dtype, params: programs.settings?.[node.id] ?? {} };
  if (!rule || (rule.fits && !rule.fits(inputs, set))) return null;
  return {
    forward: (operands) => rule.forward(operands, set),
    backward: (g, operands, position) => rule.backward(g, operands, position, set),
  };
}

/** An operation from its formulas; a loss may add up the entries, or take their mean (`reduction`). */
function elementwise({ inputs, value, pulls, reduction }) {
  const named = (operands) => Object.fromEntries(inputs.map((name, i) => [name, operands[i]]));
  return {
    forward: (operands) => reduced(evaluate(value, named(operands)), reduction),
    backward: (g, operands, position) => {
      const pull = pulls[inputs[position]];
      if (!pull) throw new Error("no rule for this input");
      const out = evaluate(value, named(operands));
      const upstream = shared(g, out, reduction);
      const found = evaluate(pull, { ...named(operands), $g: upstream, $out: out });
      return unbroadcast(expand(found, upstream.shape), operands[position].shape);
    },
  };
}

function reduced(entries, reduction) {
  if (reduction === "none") return entries;
  const total = unbroadcast(entries, []);
  return reduction === "mean" ? scaled(total, 1 / entries.data.length) : total;
}

/** What each entry receives of the gradient of their sum or mean. */
function shared(g, entries, reduction) {
  if (reduction === "none") return g;
  return scaled(expand(g, entries.shape), reduction === "mean" ? 1 / entries.data.length : 1);
}

function reshaped(x, shape) {
  return tensor(shape, x.data);
}

function scaled(x, factor) {
  return map((value) => value * factor, x);
}

function inverse(order) {
  const back = [];
  order.forEach((axis, i) => {
    back[axis] = i;
  });
  return back;
}

function matmulBackward(g, [a, b], position) {
  const left = a.shape.length === 1 ? asMatrix(a, true) : a;
  const right = b.shape.length === 1 ? asMatrix(b, false) : b;
  const upstream = reshaped(g, [left.shape[0], right.shape[1]]);
  return position === 0
    ? reshaped(matmul(upstream, transposed(right)), a.shape)
    : reshaped(matmul(transposed(left), upstream), b.shape);
}

function linear([x, weight, bias]) {
  const product = matmul(x, transposed(weight));
  return bias ? map((y, b) => y + b, product, bias) : product;
}

function linearBackward(g, [x, weight, bias], position) {
  if (position === 0) return matmul(g, weight);
  return position === 1 ? matmul(transposed(g), x) : unbroadcast(g, bias.shape);
}

function softmax(x, { params }) {
  const kept = keptShape(x.shape, params.axis);
  const most = Math.max(...x.data);
  const powers = map((value) => Math.exp(value - most), x);
  return map((power, sum) => power / sum, powers, unbroadcast(powers, kept));
}

function softmaxBackward(g, [x], _, node) {
  const p = softmax(x, node);
  const weighted = map((a, b) => a * b, g, p);
  return map((a, b, sum) => b * (a - sum), g, p, unbroadcast(weighted, keptShape(x.shape, node.params.axis)));
}

function logSoftmaxBackward(g, [x], _, node) {
  const sums = unbroadcast(g, keptShape(x.shape, node.params.axis));
  return map((a, p, sum) => a - p * sum, g, softmax(x, node), sums);
}

/** Whether a target names a class for each row; rows that are left out have none. */
function areClasses(x, target) {
  return x.shape.length === 2 && target.data.every((label) => label >= 0 && label < x.shape[1]);
}

/** The entry of each row that its class says. */
function ofClasses(x, target) {
  return tensor(
    target.shape,
    target.data.map((label, i) => x.data[i * x.shape[1] + label]),
  );
}

/** p − y, times what each row receives of the upstream gradient. */
function crossEntropyBackward(g, [x, target], position, { params }) {
  if (position !== 0) throw new Error("classes have no gradient");
  const share = shared(g, target, params.reduction).data;
  const [, columns] = x.shape;
  const p = softmax(x, ROWS).data;
  return tensor(
    x.shape,
    p.map((each, i) => {
      const row = Math.floor(i / columns);
      return share[row] * (each - Number(i % columns === target.data[row]));
    }),
  );
}
