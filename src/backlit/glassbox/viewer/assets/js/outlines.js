// Graphviz ends lines at the rectangle around a box and its caption; here they are drawn on to the box's outline.

/** The point at which a line from a place towards the box's middle meets what is drawn of the box. */
export function meetOutline(box, from) {
  const [dx, dy] = [from.x - box.x, from.y - box.y];
  const distance = Math.hypot(dx, dy);
  if (!distance) return from;
  const share = box.shape === "circle" ? box.width / 2 / distance : rectangleShare(box, dx, dy);
  return share >= 1 ? from : { x: box.x + dx * share, y: box.y + dy * share };
}

function rectangleShare(box, dx, dy) {
  const [halfWidth, halfHeight] = [box.width / 2, drawnHeight(box) / 2];
  return Math.min(halfWidth / Math.max(Math.abs(dx), 1e-9), halfHeight / Math.max(Math.abs(dy), 1e-9));
}

/** The height of what is drawn: without the room for the caption. */
export function drawnHeight({ height, caption, captionHeight }) {
  return caption ? height - 2 * captionHeight : height;
}
