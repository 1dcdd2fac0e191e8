// The viewer put together: state, what happens on an event, and what is drawn anew after it.

import { colouring, COLOURINGS } from "./colours.js";
import { Controls } from "./controls.js";
import { Debugger } from "./debugger.js";
import { Drawing } from "./drawing.js";
import { button, html, replace, svg } from "./dom.js";
import { command, helpOverlay, nearest } from "./keyboard.js";
import { icon } from "./icons.js";
import { legend } from "./legend.js";
import { Layouts } from "./layout.js";
import { describeItem } from "./panel.js";
import { Player } from "./player.js";
import { Search } from "./search.js";
import { Timeline } from "./steps.js";
import { ancestors, openUpTo } from "./tree.js";
import { Values } from "./values.js";
import { Viewport } from "./viewport.js";
import { buildView, itemKey, shownAs } from "./view.js";

const OPEN_AT_FIRST = 48;
const BETWEEN = 46;
const DIRECTIONS = { forward: "Forward", backward: "Backward", both: "Both" };

export class App {
  /** The viewer of a model inside an element; keys are listened for on `keys`. */
  constructor(host, model, keys) {
    this.model = model;
    this.host = host;
    this.open = openUpTo(model.tree, OPEN_AT_FIRST);
    this.direction = "forward";
    this.colouringName = "kind";
    this.selected = null;
    this.usePass(model.passes.length - 1);
    this.build();
    keys.addEventListener("keydown", (event) => this.key(event));
    this.draw();
    this.viewport.fit();
  }

  usePass(index) {
    this.values = new Values(this.model, this.model.passes[index]);
    this.timeline = new Timeline(this.model, this.values);
    this.player = new Player(
      this.timeline,
      (node) => this.closedAround(node),
      (_, why) => this.moved(why),
    );
    this.layouts = new Layouts(this.values);
  }

  closedAround(node) {
    const shown = shownAs(node, this.open);
    return shown.all ? shown.key : null;
  }

  // ---- building

  build() {
    this.content = svg("g", {});
    this.frame = svg(
      "svg",
      { class: "graph", role: "group", "aria-label": `Computational graph of ${this.model.title}` },
      this.content,
    );
    this.frame.addEventListener("click", (event) => this.click(event));
    this.frame.addEventListener("dblclick", (event) => this.doubleClick(event));
    this.viewport = new Viewport(this.frame, this.content);
    this.controls = new Controls(this.player, this.values);
    this.search = new Search(this.model, (node) => this.goTo(node));
    this.debugger = new Debugger(this);
    this.panel = html("aside", { class: "panel", "aria-label": "Details", tabindex: -1 });
    this.legend = html("div", { class: "legend" });
    this.help = helpOverlay(() => this.toggleHelp(false));
    const stage = html("div", { class: "stage" }, this.frame, this.legend, this.zoomButtons());
    this.element = html(
      "div",
      { class: "backlit" },
      this.header(),
      html("main", {}, stage, this.panel),
      this.controls.element,
      this.help,
    );
    replace(this.host, this.element);
  }

  header() {
    this.directionButtons = Object.entries(DIRECTIONS).map(([name, label]) =>
      button(
        label,
        `Show ${name === "both" ? "both networks" : `the ${name} network`}`,
        () => this.setDirection(name),
        { "data-direction": name },
      ),
    );
    const colours = Object.entries(COLOURINGS).map(([name, { label }]) => html("option", { value: name }, label));
    return html(
      "header",
      {},
      html("h1", {}, this.model.title || "Backlit"),
      html("div", { class: "segments", role: "group", "aria-label": "Which network" }, this.directionButtons),
      html(
        "label",
        {},
        "Colour ",
        html("select", { class: "colouring", onchange: (event) => this.setColouring(event.target.value) }, colours),
      ),
      this.passChooser(),
      this.search.element,
      this.debugger.toggleButton,
      button(icon("theme"), "Light or dark", () => this.toggleTheme(), { class: "icon theme" }),
      button("?", "Help: keys", () => this.toggleHelp(true), { class: "icon" }),
    );
  }

  passChooser() {
    const { passes } = this.model;
    if (passes.length < 2) return null;
    const options = passes.map((_, i) =>
      html("option", { value: i, selected: i === passes.length - 1 }, `pass ${i + 1}`),
    );
    return html(
      "label",
      {},
      "Pass ",
      html("select", { onchange: (event) => this.changePass(Number(event.target.value)) }, options),
    );
  }

  changePass(index) {
    this.player.halt();
    this.usePass(index);
    const { position } = this.viewportState();
    this.build();
    this.draw();
    Object.assign(this.viewport, position);
    this.viewport.apply();
  }

  viewportState() {
    const { scale, x, y, size } = this.viewport;
    return { position: { scale, x, y, size } };
  }

  zoomButtons() {
    return html(
      "div",
      { class: "zoom" },
      button(icon("plus"), "Zoom in", () => this.viewport.zoom(1.25)),
      button(icon("minus"), "Zoom out", () => this.viewport.zoom(0.8)),
      button(icon("whole"), "Show everything", () => this.viewport.fit()),
    );
  }

  // ---- drawing

  /** Lay out and draw what is open now. */
  draw() {
    this.view = buildView(this.model, this.open);
    this.geometry = this.layouts.of(this.view, this.viewport.box);
    const { width, height } = this.geometry;
    const directions = this.direction === "both" ? ["forward", "backward"] : [this.direction];
    this.drawings = directions.map((direction) => new Drawing(this.view, this.geometry, this.values, direction));
    this.drawings[1]?.element.setAttribute("transform", `translate(0 ${height + BETWEEN})`);
    replace(
      this.content,
      this.drawings.map((drawing) => drawing.element),
    );
    this.viewport.size = { width, height: height * directions.length + BETWEEN * (directions.length - 1) };
    for (const each of this.directionButtons)
      each.setAttribute("aria-pressed", String(each.dataset.direction === this.direction));
    this.refresh();
  }

  /** Show colours, selection and position again; the layout stays. */
  refresh() {
    const scale = colouring(this.colouringName, this.view, this.values);
    for (const drawing of this.drawings) drawing.colour(scale.classOf);
    replace(this.legend, legend(this.colouringName, scale));
    this.element.querySelector(".colouring").value = this.colouringName;
    this.markSelected();
    this.moved(null);
  }

  moved(why) {
    for (const drawing of this.drawings) drawing.showPosition(this.timeline, this.player.position, this.player.step);
    this.controls.show(why);
    const { step } = this.player;
    if (step && !this.player.atEnd) this.viewport.reveal(this.geometry.boxes.get(this.view.placed.get(step.node).key));
  }

  /** After an edit: other numbers in the same places. */
  edited() {
    for (const drawing of this.drawings) drawing.rewrite();
    this.refresh();
    this.showPanel();
  }

  // ---- what the reader does

  setDirection(name) {
    this.direction = name;
    this.draw();
    this.viewport.fit();
  }

  setColouring(name) {
    this.colouringName = name;
    this.refresh();
  }

  toggleTheme() {
    const dark = this.element.dataset.theme
      ? this.element.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    this.element.dataset.theme = dark ? "light" : "dark";
  }

  toggleHelp(show) {
    this.help.hidden = !show;
    if (show) this.help.querySelector("button").focus();
    else this.element.querySelector("button").focus();
  }

  click(event) {
    if (this.viewport.wasDrag) return;
    const target = event.target.closest?.("[data-key], [data-group]");
    if (event.detail > 1) return; // the second click of two: the first one may have moved the drawing under the pointer
    this.clicked = target && { ...target.dataset };
    if (!target) this.select(null);
    else if (target.dataset.group !== undefined) this.clickedModule(event, target.dataset.group);
    else if (target.classList.contains("wire")) this.select(this.wireItem(target.dataset.key));
    else this.select(this.view.items.get(target.dataset.key));
  }

  clickedModule(event, key) {
    const { group } = this.geometry.clusters.get(key);
    if (event.target.classList.contains("sign")) this.toggle(group);
    else this.select({ key: itemKey(group), group });
  }

  wireItem(key) {
    return this.view.wires.find((wire) => wire.key === key)?.from ?? null;
  }

  /** Open or close what was under the pointer at the first of the two clicks. */
  doubleClick() {
    const group =
      this.clicked &&
      (this.view.items.get(this.clicked.key)?.group ?? this.geometry.clusters.get(this.clicked.group)?.group);
    if (group) this.toggle(group);
  }

  /** Open or close a module, keeping its place in sight. */
  toggle(group) {
    const before = this.placeOf(group);
    if (this.open.has(group)) this.open.delete(group);
    else for (let each = group; each.parent; each = each.parent) this.open.add(each);
    this.draw();
    const after = this.placeOf(group);
    if (before && after)
      this.viewport.pan((before.x - after.x) * this.viewport.scale, (before.y - after.y) * this.viewport.scale);
    if (this.selected?.group === group) this.select({ key: itemKey(group), group });
  }

  /** The upper left corner of a module in the picture, open or closed. */
  placeOf(group) {
    const cluster = this.geometry.clusters.get(group.key);
    if (cluster) return cluster.pieces[0];
    const box = this.geometry.boxes.get(itemKey(group));
    return box && { x: box.x - box.width / 2, y: box.y - box.height / 2 };
  }

  select(item) {
    this.selected = item;
    this.markSelected();
    this.showPanel();
    const box = item && this.geometry.boxes.get(item.key);
    if (box && !this.viewport.fitted) this.viewport.reveal(box);
  }

  markSelected() {
    for (const drawing of this.drawings) {
      for (const [key, element] of drawing.items) element.classList.toggle("selected", key === this.selected?.key);
    }
  }

  showPanel() {
    const shown = this.selected && describeItem(this.selected, this.values, this.acts());
    replace(
      this.panel,
      shown ? button(icon("cross"), "Close the details", () => this.select(null), { class: "close" }) : null,
      shown ?? [],
    );
    this.panel.classList.toggle("shown", Boolean(shown));
  }

  acts() {
    return {
      select: (node) => this.goTo(node),
      toggle: (group) => this.toggle(group),
      runTo: (node, direction) => this.runTo(node, direction),
      editValue: (node) => this.debugger.edit(node, "value"),
      editGradient: (node) => this.debugger.edit(node, "gradient"),
    };
  }

  runTo(node, direction) {
    this.player.halt();
    this.player.seek(this.timeline.arrival(node, direction));
  }

  /** Open the modules around a node, bring it into sight and show what is known of it. */
  goTo(node) {
    const closed = ancestors(node).filter((group) => !this.open.has(group));
    for (const group of closed) this.open.add(group);
    if (closed.length) this.draw();
    const item = this.view.placed.get(node);
    this.select(item);
    if (this.viewport.scale < 0.5) this.viewport.zoom(0.9 / this.viewport.scale);
    this.viewport.reveal(this.geometry.boxes.get(item.key));
    this.drawings[0].items.get(item.key)?.focus({ preventScroll: true });
  }

  // ---- keys

  key(event) {
    const target = event.composedPath()[0];
    if (target.matches?.("input:not([type=range]), select, textarea")) return;
    if (target.matches?.("button") && [" ", "Enter"].includes(event.key)) return;
    const onItem = target.closest?.(".graph [data-key], .graph [data-group]") ?? null;
    const found = command(event, onItem);
    if (!found) return;
    event.preventDefault();
    const [name, ...rest] = found;
    this.commands(onItem)[name](...rest);
  }

  commands(onItem) {
    return {
      play: () => this.player.toggle(),
      step: (direction) => this.player.move(direction),
      seek: (position) => this.player.seek(position),
      zoom: (factor) => this.viewport.zoom(factor),
      pan: (dx, dy) => this.viewport.pan(dx, dy),
      fit: () => this.viewport.fit(),
      search: () => this.search.field.focus(),
      theme: () => this.toggleTheme(),
      help: () => this.toggleHelp(this.help.hidden),
      direction: () => this.setDirection(after(Object.keys(DIRECTIONS), this.direction)),
      activate: () => this.activate(onItem),
      neighbour: (dx, dy) => this.neighbour(onItem, [dx, dy]),
      escape: () => this.escape(),
    };
  }

  activate(element) {
    if (!element) return;
    const item = this.view.items.get(element.dataset.key);
    const group = item?.group ?? this.geometry.clusters.get(element.dataset.group)?.group;
    if (group) this.toggle(group);
    else if (item) this.select(item);
  }

  neighbour(element, direction) {
    const key = element.dataset.key;
    const from = this.geometry.boxes.get(key);
    if (!from) return;
    const drawing = this.drawings.find((each) => each.items.get(key) === element) ?? this.drawings[0];
    const places = [...drawing.items.keys()]
      .filter((other) => other !== key)
      .map((other) => [other, this.geometry.boxes.get(other)]);
    const found = nearest(from, places, direction);
    if (!found) return;
    drawing.items.get(found).focus({ preventScroll: true });
    this.viewport.reveal(this.geometry.boxes.get(found));
    this.select(this.view.items.get(found));
  }

  escape() {
    if (!this.help.hidden) this.toggleHelp(false);
    else if (this.debugger.shown) this.debugger.show(false);
    else this.select(null);
  }
}

function after(list, one) {
  return list[(list.indexOf(one) + 1) % list.length];
}
