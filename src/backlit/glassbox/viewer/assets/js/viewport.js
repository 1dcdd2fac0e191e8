// Pan, zoom and pinch: one transformation of the whole picture.

const CLOSEST = 3;
const MARGIN = 28;
const LEGEND = 44;
const FAR = 0.2; // from here on small texts cannot be read, and are left out

export class Viewport {
  /** Moves `content` inside the SVG element `frame`. */
  constructor(frame, content) {
    Object.assign(this, {
      frame,
      content,
      scale: 1,
      x: 0,
      y: 0,
      size: { width: 1, height: 1 },
      fitted: false,
      pointers: new Map(),
      moved: 0,
    });
    frame.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    frame.addEventListener("pointerdown", (event) => this.down(event));
    frame.addEventListener("pointermove", (event) => this.drag(event));
    new ResizeObserver(() => this.resized()).observe(frame);
    for (const end of ["pointerup", "pointercancel", "pointerleave"])
      frame.addEventListener(end, (event) => this.up(event));
  }

  get box() {
    return this.frame.getBoundingClientRect();
  }

  /** Keep everything in sight when the window changes, unless the reader has moved or zoomed. */
  resized() {
    if (this.fitted) this.fit();
  }

  apply() {
    this.frame.classList.toggle("far", this.scale < FAR);
    this.content.setAttribute("transform", `translate(${this.x} ${this.y}) scale(${this.scale})`);
  }

  /** Show everything of a picture of a size, but never larger than `most` times life. */
  fit(size = this.size, most = 1.6) {
    this.size = size;
    const { width, height } = this.box;
    const room = { width: Math.max(width - 2 * MARGIN, 50), height: Math.max(height - MARGIN - LEGEND, 50) };
    this.scale = Math.min(most, room.width / Math.max(size.width, 1), room.height / Math.max(size.height, 1));
    this.x = (width - size.width * this.scale) / 2;
    this.y = MARGIN + (room.height - size.height * this.scale) / 2;
    this.apply();
    this.fitted = true;
  }

  /** Zoom by a factor around a place in the frame (its centre by default). */
  zoom(factor, at = { x: this.box.width / 2, y: this.box.height / 2 }) {
    const scale = Math.min(CLOSEST, Math.max(this.scale * factor, 0.02));
    this.x = at.x - ((at.x - this.x) * scale) / this.scale;
    this.y = at.y - ((at.y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.apply();
  }

  pan(dx, dy) {
    if (!dx && !dy) return;
    this.fitted = false;
    this.x += dx;
    this.y += dy;
    this.apply();
  }

  /** Move so that a place in the picture stays where it was in the frame, or comes into sight. */
  reveal({ x, y }) {
    const { width, height } = this.box;
    const [left, top] = [this.x + x * this.scale, this.y + y * this.scale];
    const edge = 60;
    this.pan(inside(left, edge, width - edge), inside(top, edge, height - edge));
  }

  wheel(event) {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey || !event.shiftKey)
      this.zoom(Math.exp(-event.deltaY * 0.0015), this.inFrame(event));
    else this.pan(-event.deltaY, 0);
  }

  inFrame(event) {
    const { left, top } = this.box;
    return { x: event.clientX - left, y: event.clientY - top };
  }

  down(event) {
    this.pointers.set(event.pointerId, this.inFrame(event));
    this.moved = 0;
  }

  drag(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.inFrame(event);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.moved += Math.hypot(now.x - before.x, now.y - before.y);
    if (other) this.pinch(before, now, other);
    else if (this.moved > 3) this.pan(now.x - before.x, now.y - before.y);
    this.pointers.set(event.pointerId, now);
  }

  pinch(before, now, other) {
    const [was, is] = [before, now].map((point) => Math.hypot(point.x - other.x, point.y - other.y));
    const middle = { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 };
    this.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
    if (was > 0) this.zoom(is / was, middle);
  }

  up(event) {
    this.pointers.delete(event.pointerId);
  }

  /** Whether the press that just ended moved the picture, so that it was no click. */
  get wasDrag() {
    return this.moved > 6;
  }
}

function inside(place, low, high) {
  if (place < low) return low - place;
  return place > high ? high - place : 0;
}
