// Numbers as people read them: four significant digits, a real minus sign, shapes with a cross.

const DIGITS = 4;

/** A number, or one of the words "nan", "inf", "-inf" that JSON has no numbers for, as a JavaScript number. */
export function toNumber(value) {
  if (typeof value === "number") return value;
  if (typeof value === "boolean") return Number(value);
  if (value === "inf") return Infinity;
  if (value === "-inf") return -Infinity;
  return NaN;
}

/** Four significant digits: "−0.3333", "12", "1.5e−7", "∞", "NaN". */
export function format(value) {
  const x = toNumber(value);
  if (Number.isNaN(x)) return "NaN";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  if (x === 0) return "0";
  const size = Math.abs(x);
  const plain = size >= 1e-3 && size < 1e6;
  return (plain ? fixed(x) : scientific(x)).replace("-", "−");
}

function fixed(x) {
  if (Number.isInteger(x)) return String(x);
  return String(Number(x.toPrecision(DIGITS)));
}

function scientific(x) {
  const [digits, exponent] = x.toExponential(DIGITS - 1).split("e");
  return `${Number(digits)}e${exponent.replace("+", "").replace("-", "−")}`;
}

/** A share between 0 and 1 as a percentage. */
export function percent(share) {
  return `${format(Math.round(share * 1000) / 10)} %`;
}

/** "32×10"; a vector's length in brackets, so that it is not taken for a number; "scalar" for no dimensions. */
export function shapeText(shape) {
  if (shape.length === 1) return `(${shape[0]})`;
  return shape.length ? shape.join("×") : "scalar";
}

/** How many bytes, in the unit that fits. */
export function bytes(count) {
  if (count < 1024) return `${count} B`;
  if (count < 1024 ** 2) return `${format(count / 1024)} KiB`;
  return `${format(count / 1024 ** 2)} MiB`;
}

/** All the values of a Numbers object in one flat array; null where the record does not hold them. */
export function flatValues(numbers) {
  if (!numbers || numbers.values === undefined || numbers.values === null) return null;
  return [numbers.values].flat(Infinity).map(toNumber);
}

/** How many elements a shape has. */
export function sizeOf(shape) {
  return shape.reduce((a, b) => a * b, 1);
}

/** A Numbers object in a few characters: the number itself, a short vector, or else null. */
export function valueText(numbers, most = 3) {
  const values = flatValues(numbers);
  if (values === null || values.length > most) return null;
  if (values.length === 1) return format(values[0]);
  return `[${values.map(format).join(", ")}]`;
}

/** What is written above an edge: the value where it is short, the shape otherwise. */
export function valueLabel(numbers, shape) {
  return valueText(numbers) ?? shapeText(shape);
}

/** What is written below an edge: the gradient where it is short, its norm otherwise. */
export function gradientLabel(numbers) {
  if (!numbers) return null;
  return valueText(numbers) ?? (numbers.stats ? `‖${format(numbers.stats.norm)}‖` : shapeText(numbers.shape));
}

/** Whether there is a NaN or an infinity in it. */
export function isBroken(numbers) {
  return Boolean(numbers?.stats && (numbers.stats.nans > 0 || numbers.stats.infs > 0));
}

/** Rows of text for a matrix or vector that is small enough to be read. */
export function table(numbers) {
  const values = flatValues(numbers);
  if (values === null) return null;
  const columns = numbers.shape.length ? numbers.shape[numbers.shape.length - 1] : 1;
  const rows = [];
  for (let i = 0; i < values.length; i += Math.max(columns, 1)) rows.push(values.slice(i, i + columns).map(format));
  return rows;
}
