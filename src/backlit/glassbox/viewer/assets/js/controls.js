// The bar below the picture: play, step, speed, the position, and the step in words.

import { button, html, replace } from "./dom.js";
import { icon } from "./icons.js";
import { describe } from "./words.js";

const EVERYTHING =
  "Values above the lines, gradients below. Press play to see them come, or click anything for what is known of it.";
const NOTHING_YET = "Only the inputs and the parameters are known. Press play, or step.";
const SPEEDS = [0.5, 1, 2, 4, 10];

export class Controls {
  constructor(player, values) {
    Object.assign(this, { player, values });
    this.playButton = button(icon("play"), "Play", () => player.toggle(), { class: "play" });
    this.slider = html("input", {
      type: "range",
      min: 0,
      max: player.timeline.length,
      step: 1,
      "aria-label": "Position in the walk",
      oninput: () => player.seek(Number(this.slider.value)),
    });
    this.count = html("output", { class: "count" });
    this.sentence = html("div", { class: "sentence", role: "status", "aria-live": "polite" });
    this.element = html(
      "div",
      { class: "controls" },
      html("div", { class: "transport" }, this.buttons(), this.slider, this.count, this.speed()),
      this.sentence,
    );
  }

  buttons() {
    const { player } = this;
    return [
      button(icon("start"), "To the start", () => player.seek(0)),
      button(icon("back"), "One step back", () => player.move(-1)),
      this.playButton,
      button(icon("next"), "One step on", () => player.move(1)),
      button(icon("end"), "To the end", () => player.seek(Infinity)),
    ];
  }

  speed() {
    const options = SPEEDS.map((speed) => html("option", { value: speed, selected: speed === 1 }, `${speed}×`));
    return html(
      "select",
      { "aria-label": "Speed", onchange: (event) => (this.player.speed = Number(event.target.value)) },
      options,
    );
  }

  /** Show where the player is, and why it stopped there if it did. */
  show(why) {
    const { player } = this;
    this.slider.value = player.position;
    replace(this.playButton, icon(player.playing ? "pause" : "play"));
    this.playButton.setAttribute("aria-label", player.playing ? "Pause" : "Play");
    this.count.textContent = `${player.position} / ${player.timeline.length}`;
    replace(this.sentence, why ? html("p", { class: "why" }, why) : null, this.words());
  }

  words() {
    const { step } = this.player;
    if (!step) return html("p", { class: "muted" }, this.player.position ? EVERYTHING : NOTHING_YET);
    const { heading, symbols, numbers, gate } = describe(step, this.values);
    const kind = step.kind === "forward" ? "forward" : "backward";
    return [
      html("p", { class: `heading ${kind}` }, heading),
      html("p", { class: "symbols" }, symbols, " ", html("strong", { class: "product" }, numbers)),
      gate ? html("p", { class: "muted" }, gate) : null,
    ];
  }
}
