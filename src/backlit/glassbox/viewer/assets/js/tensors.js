// Small dense tensors: {shape, data} with the data in rows, enough to compute a formula or a small network again.

import { flatValues, sizeOf } from "./numbers.js";

export function tensor(shape, data) {
  return { shape, data };
}

/** A Numbers object of the record as a tensor; null where the record does not hold the values. */
export function fromNumbers(numbers) {
  const data = flatValues(numbers);
  return data && tensor(numbers.shape, data);
}

/** A tensor as a Numbers object, with its statistics; rounded to the dtype. */
export function toNumbers({ shape, data }, dtype) {
  const values = dtype === "float32" ? data.map(Math.fround) : data;
  return { shape, dtype, values: nested(shape, values, 0), stats: statistics(values) };
}

function nested(shape, data, start) {
  if (!shape.length) return data[start];
  const [n, ...rest] = shape;
  const step = sizeOf(rest);
  return Array.from({ length: n }, (_, i) => nested(rest, data, start + i * step));
}

function statistics(data) {
  const finite = data.filter(Number.isFinite);
  const mean = finite.reduce((sum, x) => sum + x, 0) / (finite.length || 1);
  return {
    min: Math.min(...data),
    max: Math.max(...data),
    mean,
    std: Math.sqrt(finite.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (finite.length || 1)),
    norm: Math.hypot(...data),
    absmax: Math.max(...data.map(Math.abs)),
    zeros: data.filter((x) => x === 0).length / (data.length || 1),
    nans: data.filter(Number.isNaN).length,
    infs: data.filter((x) => Math.abs(x) === Infinity).length,
  };
}

/** The shape that several shapes broadcast to. */
export function broadcastShape(shapes) {
  const length = Math.max(...shapes.map((shape) => shape.length));
  return Array.from({ length }, (_, i) => Math.max(...shapes.map((shape) => shape[i - length + shape.length] ?? 1)));
}

function strides(shape, onto) {
  const steps = new Array(onto.length).fill(0);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i -= 1) {
    if (shape[i] !== 1) steps[i + onto.length - shape.length] = step;
    step *= shape[i];
  }
  return steps;
}

/** For each element of `onto`, in rows, the place of the element of a broadcast shape that it is. */
export function places(shape, onto) {
  const steps = strides(shape, onto);
  let found = [0];
  onto.forEach((n, axis) => {
    found = found.flatMap((place) => Array.from({ length: n }, (_, i) => place + i * steps[axis]));
  });
  return found;
}

/** A function applied element by element to broadcast tensors. */
export function map(compute, ...operands) {
  const shape = broadcastShape(operands.map((operand) => operand.shape));
  const at = operands.map((operand) => places(operand.shape, shape));
  const data = Array.from({ length: sizeOf(shape) }, (_, i) =>
    compute(...operands.map((operand, k) => operand.data[at[k][i]])),
  );
  return tensor(shape, data);
}

/** A tensor stretched to a shape. */
export function expand(x, shape) {
  return tensor(
    shape,
    places(x.shape, shape).map((place) => x.data[place]),
  );
}

/** A gradient summed over the axes along which its input was broadcast. */
export function unbroadcast(g, shape) {
  const data = new Array(sizeOf(shape)).fill(0);
  places(shape, g.shape).forEach((place, i) => {
    data[place] += g.data[i];
  });
  return tensor(shape, data);
}

export function add(a, b) {
  return map((x, y) => x + y, a, b);
}

/** The product of two matrices; a vector is a row on the left and a column on the right. */
export function matmul(a, b) {
  const [rows, inner] = a.shape.length === 1 ? [1, a.shape[0]] : a.shape;
  const columns = b.shape.length === 1 ? 1 : b.shape[1];
  const data = new Array(rows * columns).fill(0);
  for (let i = 0; i < rows; i += 1) {
    for (let j = 0; j < columns; j += 1) {
      for (let k = 0; k < inner; k += 1) data[i * columns + j] += a.data[i * inner + k] * b.data[k * columns + j];
    }
  }
  return tensor([...a.shape.slice(0, -1), ...b.shape.slice(1)], data);
}

/** The axes of a tensor in another order. */
export function permute(x, order) {
  const shape = order.map((axis) => x.shape[axis]);
  const own = strides(
    x.shape.map((n) => n),
    x.shape,
  );
  let found = [0];
  order.forEach((axis) => {
    const step = x.shape[axis] === 1 ? 0 : own[axis];
    found = found.flatMap((place) => Array.from({ length: x.shape[axis] }, (_, i) => place + i * step));
  });
  return tensor(
    shape,
    found.map((place) => x.data[place]),
  );
}

/** A shape with the reduced axes (null: all) as ones. */
export function keptShape(shape, axes) {
  const reduced =
    axes === null || axes === undefined
      ? shape.map((_, i) => i)
      : [axes].flat().map((axis) => (axis + shape.length) % shape.length);
  return shape.map((n, i) => (reduced.includes(i) ? 1 : n));
}
