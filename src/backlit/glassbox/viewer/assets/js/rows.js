// Long networks in rows: a layout that is much wider than the window is cut where few wires pass, and the pieces are
// set below one another, as lines of a text are.

const COUNTS = [1, 2, 3, 4, 6, 9, 12];
const GAP = 34;
const SHIFT = 0.35;
const CROSSING = 0.06;
const TITLE = 30;
const MARGIN = 12;

/** The layout as it is, in one row. */
export function oneRow(geometry) {
  return arranged(geometry, [0, geometry.width]);
}

/** The layout in as many rows as let it be drawn largest in a window of a size. */
export function inRows(geometry, window) {
  const wires = [...geometry.wires.values()].flatMap((wire) => wire.curves.map(sideways));
  const frames = [...geometry.clusters.values()].map(({ x, width }) => ({ from: x, to: x + width }));
  const arrangements = COUNTS.map((count) => arranged(geometry, cuts(geometry, count, [...wires, ...frames])));
  const scale = ({ width, height }) => Math.min(window.width / width, window.height / height);
  return arrangements.reduce((best, one) => (scale(one) > 1.1 * scale(best) ? one : best));
}

/** Where to cut: between boxes, near equal parts, where few wires cross. */
function cuts(geometry, count, spans) {
  const taken = [...geometry.boxes.values(), ...labels(geometry)].map(horizontally).sort((a, b) => a.from - b.from);
  const free = freePlaces(taken, [...geometry.clusters.values()]);
  const part = geometry.width / count;
  const found = [0];
  for (let i = 1; i < count; i += 1) {
    const cost = (x) => Math.abs(x - i * part) / part + CROSSING * crossings(spans, x);
    const near = free.filter((x) => Math.abs(x - i * part) < SHIFT * part && x > found[found.length - 1] + 1);
    if (near.length) found.push(near.reduce((best, x) => (cost(x) < cost(best) ? x : best)));
  }
  return [...found, geometry.width];
}

function labels(geometry) {
  return [...geometry.wires.values()].map((wire) => wire.label).filter(Boolean);
}

function horizontally({ x, width, outer }) {
  const half = (outer ?? width) / 2;
  return { from: x - half, to: x + half };
}

/** Places in gaps that no box and no label reaches into: the middle, and just beside a module's frame. */
function freePlaces(taken, clusters) {
  const sides = clusters.flatMap(({ x, width }) => [x - 2, x + width + 2]);
  const places = [];
  let reached = -Infinity;
  for (const { from, to } of taken) {
    if (from > reached + 8 && reached > -Infinity) {
      const beside = sides.filter((x) => x > reached && x < from);
      places.push(...(beside.length ? beside : [(from + reached) / 2]));
    }
    reached = Math.max(reached, to);
  }
  return places;
}

/** How many wires and frames a cut would go through. */
function crossings(spans, x) {
  return spans.filter(({ from, to }) => from < x && to > x).length;
}

/** How far a curve reaches from left to right. */
function sideways({ points, tip }) {
  const xs = [...points, ...(tip ? [tip] : [])].map((point) => point.x);
  return { from: Math.min(...xs), to: Math.max(...xs) };
}

function arranged(geometry, borders) {
  const rows = borders.slice(1).map((to, i) => ({ from: borders[i], to, frames: new Map() }));
  for (const row of rows) measure(geometry, row);
  stack(rows);
  const move = (thing) => shifted(thing, rowAt(rows, thing.x));
  const wires = mapValues(geometry.wires, (wire) => ({
    ...wire,
    label: wire.label && move(wire.label),
    pieces: wirePieces(wire, rows),
  }));
  const clusters = mapValues(geometry.clusters, (cluster) => ({
    group: cluster.group,
    pieces: clusterPieces(cluster, rows),
  }));
  const last = rows[rows.length - 1];
  const width = Math.max(...rows.map((row) => row.to - row.from));
  return { width, height: last.dy + last.bottom, rows, boxes: mapValues(geometry.boxes, move), wires, clusters };
}

function mapValues(map, change) {
  return new Map([...map].map(([key, value]) => [key, change(value)]));
}

/** Give a row its vertical extent, and the frames in it theirs: a frame that is cut is only as high as it must be. */
function measure(geometry, row) {
  const things = [...geometry.boxes.values(), ...labels(geometry)].filter(({ x }) => x >= row.from && x <= row.to);
  const extents = things.map(({ y, height, cluster }) => ({ top: y - height / 2, bottom: y + height / 2, cluster }));
  const depth = (group) => (group?.parent ? 1 + depth(group.parent) : 0);
  const inside = [...geometry.clusters.values()].filter(({ x, width }) => x < row.to && x + width > row.from);
  for (const cluster of inside.sort((a, b) => depth(b.group) - depth(a.group))) {
    const frame = frameIn(row, cluster, extents);
    row.frames.set(cluster.group, frame);
    extents.push({ ...frame, cluster: cluster.group.parent });
  }
  for (const wire of geometry.wires.values()) {
    for (const { x, y } of wire.curves.flatMap((curve) => curve.points)) {
      if (x >= row.from && x <= row.to) extents.push({ top: y, bottom: y });
    }
  }
  Object.assign(row, extents.length ? union(extents) : { top: 0, bottom: geometry.height });
}

function frameIn(row, { group, x, y, width, height }, extents) {
  const whole = { top: y, bottom: y + height };
  const held = extents.filter(({ cluster }) => cluster === group);
  if (!held.length || (x >= row.from && x + width <= row.to)) return whole;
  const { top, bottom } = union(held);
  return { top: Math.max(top - TITLE, y), bottom: Math.min(bottom + MARGIN, y + height) };
}

function union(extents) {
  return { top: Math.min(...extents.map(({ top }) => top)), bottom: Math.max(...extents.map(({ bottom }) => bottom)) };
}

function stack(rows) {
  let y = 0;
  for (const row of rows) {
    row.dx = -row.from;
    row.dy = y - row.top;
    y += row.bottom - row.top + GAP;
  }
  return rows;
}

function rowAt(rows, x) {
  return rows.find((row) => x <= row.to) ?? rows[rows.length - 1];
}

function shifted(thing, { dx, dy }) {
  return { ...thing, x: thing.x + dx, y: thing.y + dy };
}

/** The rows in which a wire is drawn. */
function wirePieces(wire, rows) {
  const spans = wire.curves.map(sideways);
  return rows.filter((row) => spans.some(({ from, to }) => from < row.to && to > row.from));
}

/** A module's frame in each row that it reaches into. */
function clusterPieces({ group, x, width }, rows) {
  return rows
    .filter((row) => row.frames.has(group))
    .map((row) => {
      const { top, bottom } = row.frames.get(group);
      const left = Math.max(x, row.from);
      const right = Math.min(x + width, row.to);
      return {
        x: left + row.dx,
        y: top + row.dy,
        width: right - left,
        height: bottom - top,
        last: right === x + width,
      };
    });
}

/** The row in which a place of the layout lies. */
export function rowOf(geometry, x) {
  return rowAt(geometry.rows, x);
}
