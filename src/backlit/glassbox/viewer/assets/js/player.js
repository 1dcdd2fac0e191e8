// Playing, pausing, stepping and stopping at break points.

const SECONDS_A_STEP = 1.1;

/** Holds the position in a timeline; calls `onchange(position, why)` whenever it moves. */
export class Player {
  constructor(timeline, placeOf, onchange) {
    Object.assign(this, {
      timeline,
      placeOf,
      onchange,
      breaks: [],
      speed: 1,
      timer: null,
      position: timeline.length,
      moved: false,
    });
  }

  get playing() {
    return this.timer !== null;
  }

  /** The step that led to the present position; null at the start, and before anything was played. */
  get step() {
    return this.moved && this.position > 0 ? this.timeline.steps[this.position - 1] : null;
  }

  get atEnd() {
    return this.position >= this.timeline.length;
  }

  seek(position, why = null) {
    this.moved = true;
    this.position = Math.max(0, Math.min(position, this.timeline.length));
    this.onchange(this.position, why);
  }

  move(direction) {
    this.seek(this.timeline.next(this.position, direction, this.placeOf));
  }

  play() {
    if (this.playing) return;
    if (this.atEnd) this.seek(0);
    this.schedule();
    this.onchange(this.position, null);
  }

  schedule() {
    this.timer = setTimeout(() => this.tick(), (1000 * SECONDS_A_STEP) / this.speed);
  }

  tick() {
    this.timer = null;
    const target = this.timeline.next(this.position, 1, this.placeOf);
    const stop = this.firstBreak(this.position, target);
    this.schedule();
    if (stop || target >= this.timeline.length) this.halt();
    this.seek(stop ? stop.position : target, stop ? `Stopped: ${stop.reason}.` : null);
  }

  halt() {
    clearTimeout(this.timer);
    this.timer = null;
  }

  pause() {
    this.halt();
    this.onchange(this.position, null);
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  /** Run on, without waiting, to the next break point or to the end. */
  run() {
    const stop = this.firstBreak(this.position, this.timeline.length);
    this.halt();
    this.seek(stop ? stop.position : this.timeline.length, stop ? `Stopped: ${stop.reason}.` : "Ran to the end.");
  }

  /** The first position after one and up to another at which a break point holds. */
  firstBreak(from, to) {
    for (let position = from + 1; position <= to; position += 1) {
      const step = this.timeline.steps[position - 1];
      const hit = this.breaks.find((point) => point.holds(step));
      if (hit) return { position, reason: hit.label };
    }
    return null;
  }
}
