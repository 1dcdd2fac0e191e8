// The lines of wires: Graphviz's splines as SVG paths, straight through labels, with arrow heads of our own.

const HEAD = 7;

/** A spline and, where it ends in an arrow, the line to the arrow's tip. */
function curvePath({ points, start, tip }) {
  const [first, ...rest] = points;
  let path = start ? `M${at(start)}L${at(first)}` : `M${at(first)}`;
  for (let i = 0; i + 2 < rest.length; i += 3) path += `C${at(rest[i])} ${at(rest[i + 1])} ${at(rest[i + 2])}`;
  return tip ? `${path}L${at(tip)}` : path;
}

function at({ x, y }) {
  return `${round(x)},${round(y)}`;
}

function round(x) {
  return Math.round(x * 10) / 10;
}

/** The splines of a wire as path data. */
export function curvesPath(place) {
  return place.curves.map(curvePath).join("");
}

/** The straight line through a wire's label. */
export function labelPath({ x, y, width }) {
  return `M${at({ x: x - width / 2, y })}L${at({ x: x + width / 2, y })}`;
}

/** {points, x} of the triangle at the end of a wire (`forward`) or at its start; null where nothing is drawn. */
export function arrowHead(place, forward) {
  if (!place.curves.length) return null;
  return forward ? headAtEnd(place.curves[place.curves.length - 1]) : headAtStart(place.curves[0]);
}

function headAtEnd({ points, tip }) {
  const end = tip ?? points[points.length - 1];
  const before = tip ? points[points.length - 1] : points[points.length - 2];
  return triangle(end, before);
}

function headAtStart({ points, start }) {
  return triangle(start ?? points[0], points[1]);
}

function triangle(tip, from) {
  const length = Math.hypot(tip.x - from.x, tip.y - from.y) || 1;
  const [dx, dy] = [(tip.x - from.x) / length, (tip.y - from.y) / length];
  const base = { x: tip.x - dx * HEAD, y: tip.y - dy * HEAD };
  const side = HEAD * 0.42;
  const corners = [
    tip,
    { x: base.x - dy * side, y: base.y + dx * side },
    { x: base.x + dy * side, y: base.y - dx * side },
  ];
  return { points: corners.map(at).join(" "), x: tip.x };
}
