// The debugger in the page: break points, running on, and edits of values and gradients.

import { breakPoint, CONDITIONS } from "./breaks.js";
import { button, html, replace } from "./dom.js";
import { spoken } from "./model.js";
import { flatValues, format, gradientLabel, shapeText, valueText } from "./numbers.js";
import { replay } from "./replay.js";
import { tensor } from "./tensors.js";

export class Debugger {
  constructor(app) {
    this.app = app;
    this.edits = { values: new Map(), gradients: new Map() };
    this.shown = false;
    this.kind = html(
      "select",
      { "aria-label": "Condition", onchange: () => this.conditionChanged() },
      Object.entries(CONDITIONS).map(([name, { label }]) => html("option", { value: name }, label)),
    );
    this.argument = html("input", {
      type: "text",
      "aria-label": "Condition's value",
      value: "10",
      size: 9,
      onkeydown: (event) => this.enter(event),
    });
    this.message = html("p", { class: "warning", role: "alert" });
    this.list = html("ul", { class: "breaks" });
    this.changes = html("div", { class: "changes" });
    this.toggleButton = button("Debug", "Break points and edits", () => this.show(!this.shown), {
      "aria-pressed": "false",
    });
    this.element = this.build();
  }

  build() {
    const add = html(
      "div",
      { class: "row" },
      "Stop where ",
      this.kind,
      this.argument,
      button("Add", "Add this break point", () => this.add()),
    );
    const run = html(
      "div",
      { class: "actions" },
      button("Run on", "Run to the next break point", () => this.app.player.run()),
      button("Rewind", "Back to the start", () => this.app.player.seek(0)),
    );
    return html(
      "section",
      { class: "debugger", "aria-label": "Debugger" },
      html("h3", {}, "Break points"),
      add,
      this.message,
      this.list,
      run,
      html("h3", {}, "Edits"),
      this.changes,
    );
  }

  show(shown) {
    this.shown = shown;
    this.toggleButton.setAttribute("aria-pressed", String(shown));
    this.app.element.querySelector(".debugger")?.remove();
    if (shown) this.app.element.querySelector(".stage").before(this.element);
    this.update();
  }

  conditionChanged() {
    const { argument } = CONDITIONS[this.kind.value];
    this.argument.hidden = argument === null;
    this.argument.value = argument ?? "";
  }

  enter(event) {
    if (event.key === "Enter") this.add();
  }

  add() {
    const point = breakPoint(this.kind.value, this.argument.value, this.app.values);
    this.message.textContent = point.error ?? "";
    if (!point.error) this.app.player.breaks.push(point);
    this.update();
  }

  remove(point) {
    const { breaks } = this.app.player;
    breaks.splice(breaks.indexOf(point), 1);
    this.update();
  }

  update() {
    const { breaks } = this.app.player;
    replace(
      this.list,
      breaks.map((point) =>
        html(
          "li",
          {},
          point.label,
          button("×", `Remove the break point ${point.label}`, () => this.remove(point), { class: "link" }),
        ),
      ),
    );
    replace(this.changes, this.changeLines());
  }

  // ---- edits

  /** Replace the panel's numbers by fields; what = "value" or "gradient". */
  edit(node, what) {
    const { app } = this;
    const numbers = what === "value" ? app.values.value(node) : app.values.upstream(node);
    const fields = flatValues(numbers).map((x, i) =>
      html("input", {
        type: "text",
        inputmode: "decimal",
        size: 8,
        value: String(x),
        "aria-label": `element ${i + 1}`,
      }),
    );
    const problem = html("p", { class: "warning", role: "alert" });
    const columns = numbers.shape[numbers.shape.length - 1] ?? 1;
    const grid = html("div", { class: "grid" }, fields);
    grid.style.gridTemplateColumns = `repeat(${Math.min(columns, 8)}, minmax(4em, 1fr))`;
    const apply = () => this.apply(node, what, fields, problem);
    const form = html(
      "form",
      { class: "edit", onsubmit: (event) => (event.preventDefault(), apply()) },
      html("h3", {}, `Edit the ${what} of ${spoken(node)} (${shapeText(node.shape)})`),
      grid,
      problem,
      html(
        "div",
        { class: "actions" },
        html("button", { type: "submit" }, "Apply"),
        button("Cancel", "Cancel the edit", () => app.showPanel()),
      ),
    );
    app.panel.prepend(form);
    fields[0].select();
  }

  apply(node, what, fields, problem) {
    const data = fields.map((field) => readNumber(field.value));
    if (data.includes(null)) {
      problem.textContent = `"${fields[data.indexOf(null)].value}" is not a number.`;
      return;
    }
    this.edits[what === "value" ? "values" : "gradients"].set(node.id, tensor(node.shape, data));
    this.replay();
    this.show(true);
  }

  replay() {
    const { model, values } = this.app;
    const { changed, unknown } = replay(model, values, this.edits);
    values.lay(changed, unknown);
    this.app.edited();
    this.update();
  }

  reset() {
    this.edits.values.clear();
    this.edits.gradients.clear();
    this.replay();
  }

  changeLines() {
    const { values, model } = this.app;
    if (!values.edited)
      return [
        html("p", { class: "muted" }, "None. Select a node and edit its value or its gradient; at most 64 elements."),
      ];
    const nodes = model.nodes.filter((node) => values.isChanged(node));
    const lines = nodes
      .slice(0, 30)
      .map((node) => html("tr", {}, html("th", { scope: "row" }, spoken(node)), ...changeCells(node, values)));
    const head = html(
      "tr",
      {},
      html("th", {}),
      html("th", { scope: "col" }, "value"),
      html("th", { scope: "col" }, "gradient"),
    );
    return [
      html("table", { class: "rows" }, head, lines),
      this.lost(),
      button("Undo all edits", "Undo all edits", () => this.reset()),
    ];
  }

  lost() {
    const { values, model } = this.app;
    if (!values.unknown.size) return null;
    const names = [...values.unknown]
      .slice(0, 6)
      .map((id) => spoken(model.byId.get(id)))
      .join(", ");
    return html(
      "p",
      { class: "warning" },
      `${values.unknown.size} nodes depend on this edit and cannot be recomputed in the page `,
      `(${names}${values.unknown.size > 6 ? " …" : ""}). In Python, rec.debugger() can.`,
    );
  }
}

function changeCells(node, values) {
  const gradient = gradientLabel(values.pass.upstream.get(node.id) ?? null);
  return [
    change(node.value && brief(node.value), values.changed.values.has(node.id) && brief(values.value(node))),
    change(gradient, values.changed.upstream.has(node.id) && gradientLabel(values.upstream(node))),
  ];
}

function brief(numbers) {
  return valueText(numbers) ?? `‖${format(numbers.stats?.norm ?? NaN)}‖`;
}

function change(before, after) {
  return html("td", {}, after ? `${before} → ${after}` : "");
}

/** A number as people type it, with either minus sign; null where it is none. */
export function readNumber(text) {
  const plain = text.trim().replace("−", "-").replace("∞", "Infinity");
  if (plain.toLowerCase() === "nan") return NaN;
  const number = Number(plain);
  return plain === "" || Number.isNaN(number) ? null : number;
}
