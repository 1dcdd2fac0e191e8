// The picture: boxes, wires and modules as SVG, and what changes on it from step to step.

import { factorLabel, isPlainNumber, wireGradient, wireLabel } from "./boxes.js";
import { svg } from "./dom.js";
import { spoken, symbol } from "./model.js";
import { shapeText } from "./numbers.js";
import { drawnHeight } from "./outlines.js";
import { arrowHead, curvesPath, labelPath } from "./paths.js";
import { rowOf } from "./rows.js";
import { itemHint, wireSentence } from "./words.js";

/** Draws a view with its layout; "forward" is the network itself, "backward" the mirror that gradients run through. */
export class Drawing {
  constructor(view, geometry, values, direction) {
    Object.assign(this, { view, geometry, values, direction });
    this.items = new Map();
    this.wires = new Map();
    this.element = svg(
      "g",
      { class: `drawing ${direction}` },
      this.clips(),
      this.clusters(),
      this.allWires(),
      this.allItems(),
    );
  }

  /** What keeps wires inside their rows; in the coordinates of the layout before it was cut. */
  clips() {
    const { rows } = this.geometry;
    if (rows.length < 2) return [];
    return rows.map((row, i) => {
      const rectangle = svg("rect", {
        x: row.from,
        y: row.top - 10,
        width: row.to - row.from,
        height: row.bottom - row.top + 20,
      });
      return svg("clipPath", { id: this.clipName(i) }, rectangle);
    });
  }

  clipName(i) {
    return `backlit-${this.direction}-row-${i}`;
  }

  clusters() {
    const depth = ({ group }) => (group.parent ? 1 + depth({ group: group.parent }) : 0);
    return [...this.geometry.clusters.values()].sort((a, b) => depth(a) - depth(b)).map(clusterElement);
  }

  allWires() {
    const shown = this.view.wires.filter((wire) => this.geometry.wires.has(wire.key) && this.isShown(wire));
    return svg(
      "g",
      {},
      shown.map((wire) => this.wire(wire)),
    );
  }

  isShown(wire) {
    if (this.direction === "forward") return true;
    return wire.root ? this.values.seed(wire.root) !== null : wire.edges.some((edge) => this.values.flows(edge));
  }

  wire(wire) {
    const place = this.geometry.wires.get(wire.key);
    const gradient = wireGradient(wire, this.values);
    const texts = place.label ? this.labels(wire, place.label) : {};
    const group = svg(
      "g",
      { class: `wire${wire.root ? " root" : ""}`, "data-key": wire.key },
      svg("title", {}, wireSentence(wire, this.values, gradient)),
      place.label && line(labelPath(place.label)),
      place.pieces.map((row) => this.piece(place, row)),
      this.head(wire, place),
      Object.values(texts),
    );
    this.wires.set(wire.key, { group, ...texts });
    return group;
  }

  /** A wire as far as it lies in a row. */
  piece(place, row) {
    const { rows } = this.geometry;
    const clip = rows.length > 1 && place.pieces.length > 1 ? `url(#${this.clipName(rows.indexOf(row))})` : null;
    return svg("g", { transform: `translate(${row.dx} ${row.dy})`, "clip-path": clip }, line(curvesPath(place)));
  }

  head(wire, place) {
    const forward = this.direction === "forward";
    const head = wire.to || !forward ? arrowHead(place, forward) : null;
    if (!head) return null;
    const { dx, dy } = rowOf(this.geometry, head.x);
    return svg("polygon", { class: "head", points: head.points, transform: `translate(${dx} ${dy})` });
  }

  labels(wire, { x, y }) {
    const { above, below } = this.texts(wire);
    const texts = {};
    if (above !== null) texts.above = svg("text", { class: "value", x, y: y - 6 }, above);
    if (below !== null) texts.below = svg("text", { class: "gradient", x, y: y + 15 }, below);
    return texts;
  }

  /** Forward: the value above, the gradient below. Backward: the local factor above, what comes out below. */
  texts(wire) {
    const label = wireLabel(wire, this.values);
    if (this.direction === "forward") return label;
    return { above: factorLabel(wire, this.values), below: label.below };
  }

  allItems() {
    return svg(
      "g",
      {},
      [...this.view.items.values()].filter((item) => this.reached(item)).map((item) => this.item(item)),
    );
  }

  reached(item) {
    if (this.direction === "forward") return true;
    const nodes = item.group ? item.group.all : [item.node];
    return nodes.some((node) => this.values.upstream(node) !== null);
  }

  item(item) {
    const box = this.geometry.boxes.get(item.key);
    const replacement = this.direction === "forward" ? null : mirrored(item, box, this.values);
    const element = itemElement(item, box, replacement, itemHint(item, sentence(item), this.values));
    this.items.set(item.key, element);
    return element;
  }

  /** Show what is known after a number of steps, and which item and wire the latest step was about. */
  showPosition(timeline, position, step) {
    for (const wire of this.view.wires) this.showWire(wire, timeline, position, step);
    for (const [key, element] of this.items) {
      const item = this.view.items.get(key);
      const nodes = item.group ? item.group.all : [item.node];
      const known = nodes.some((node) => this.knows(timeline, node, position));
      element.classList.toggle("later", !known);
      const current = step !== null && this.view.placed.get(step.node) === item;
      element.classList.toggle("current", current);
      element.classList.toggle("backwards", current && step.kind !== "forward");
    }
  }

  knows(timeline, node, position) {
    return this.direction === "forward" ? timeline.knowsValue(node, position) : timeline.knowsUpstream(node, position);
  }

  showWire(wire, timeline, position, step) {
    const drawn = this.wires.get(wire.key);
    if (!drawn) return;
    const source = wire.root ?? wire.edges[0].source;
    const value = timeline.knowsValue(source, position);
    const flowing = wire.edges.filter((edge) => this.values.flows(edge));
    const gradient = wire.root
      ? position > timeline.forward && timeline.knowsUpstream(source, position)
      : flowing.length > 0 && flowing.every((edge) => timeline.knowsEdge(edge, position));
    const first = this.direction === "forward" ? value : gradient;
    drawn.group.classList.toggle("later", !first);
    drawn.above?.classList.toggle("later", !first);
    drawn.below?.classList.toggle("later", !gradient);
    drawn.group.classList.toggle("current", isCurrent(wire, step));
    drawn.group.classList.toggle("backwards", isCurrent(wire, step) && step.kind !== "forward");
  }

  /** Give items the classes of a colouring, and mark those whose numbers were edited or are no longer known. */
  colour(classOf) {
    for (const [key, element] of this.items) {
      const item = this.view.items.get(key);
      const nodes = item.group ? item.group.all : [item.node];
      const changed = nodes.some((node) => this.values.isChanged(node)) ? " changed" : "";
      const unknown = nodes.some((node) => this.values.unknown.has(node.id)) ? " unknown" : "";
      element.setAttribute("class", `${element.dataset.base} ${classOf(item)}${changed}${unknown}`);
    }
  }

  /** Write the numbers again, after an edit. */
  rewrite() {
    for (const wire of this.view.wires) {
      const drawn = this.wires.get(wire.key);
      if (!drawn) continue;
      const { above, below } = this.texts(wire);
      if (drawn.above && above !== null) drawn.above.textContent = above;
      if (drawn.below && below !== null) drawn.below.textContent = below;
    }
  }
}

function isCurrent(wire, step) {
  if (!step) return false;
  if (step.kind === "local") return wire.edges.includes(step.edge);
  if (step.kind === "seed") return wire.root === step.node;
  return step.kind === "forward" && Boolean(wire.to) && wire.to.node === step.node;
}

function line(path) {
  return [svg("path", { class: "touch", d: path }), svg("path", { class: "line", d: path })];
}

/** A module's frame, in as many pieces as there are rows that it reaches into. */
function clusterElement({ group, pieces }) {
  const label = `Module ${group.label}, open. Press Enter to close it.`;
  const attributes = { class: "cluster", "data-group": group.key, tabindex: 0, role: "button", "aria-label": label };
  return svg(
    "g",
    attributes,
    svg("title", {}, `Close ${group.label}`),
    pieces.map((piece) => frame(piece, group.label)),
  );
}

function frame({ x, y, width, height, last }, label) {
  return [
    svg("rect", { class: "frame", x, y, width, height, rx: 10 }),
    svg("rect", { class: "strip", x, y, width, height: 24, rx: 10 }),
    svg("text", { x: x + 10, y: y + 17 }, label),
    last && svg("text", { class: "sign", x: x + width - 12, y: y + 17 }, "−"),
  ].filter(Boolean);
}

/** In the mirror an operation is its own backward rule, a join is a sum, and a leaf is its gradient. */
function mirrored(item, box, values) {
  if (item.group) return { ...box, title: `${box.title}′` };
  const { node } = item;
  const meets = values.terms(node).length + (values.seed(node) ? 1 : 0) > 1;
  const title = node.kind === "operation" ? `${symbol(node)}′` : `∇${box.title}`;
  return { ...box, title: meets && node.kind === "operation" ? `Σ ${title}` : title };
}

function itemElement(item, box, replacement, hint) {
  const drawn = replacement ?? box;
  const kind = item.group ? "group" : item.node.kind;
  const base = `item ${kind} ${box.shape}`;
  const attributes = {
    class: base,
    "data-base": base,
    "data-key": item.key,
    tabindex: 0,
    role: "button",
    "aria-label": sentence(item),
  };
  return svg("g", attributes, svg("title", {}, hint), outline(drawn), texts(drawn, !replacement));
}

function sentence({ node, group }) {
  if (group) return `Module ${group.label}, closed. Press Enter to open it.`;
  if (isPlainNumber(node)) return `the number ${node.name}`;
  const kind = node.kind === "operation" ? `${node.op} gives ${spoken(node)}` : `${node.kind} ${spoken(node)}`;
  return `${kind}, ${shapeText(node.shape)}${node.module ? `, in ${node.module}` : ""}`;
}

function outline(box) {
  const { shape, x, y, width } = box;
  if (shape === "circle") return svg("circle", { class: "shape", cx: x, cy: y, r: width / 2 });
  const tall = drawnHeight(box);
  const radius = { pill: tall / 2, leaf: 6, group: 12, number: 5 }[shape];
  return svg("rect", { class: "shape", x: x - width / 2, y: y - tall / 2, width, height: tall, rx: radius });
}

function texts({ x, y, height, title, subtitle, caption, shape }, captioned) {
  const lines = [
    svg("text", { class: shape === "number" ? "number" : "title", x, y: subtitle ? y - 3 : y + 5 }, title),
  ];
  if (subtitle) lines.push(svg("text", { class: "subtitle", x, y: y + 13 }, subtitle));
  if (caption && captioned) lines.push(svg("text", { class: "caption", x, y: y + height / 2 - 4 }, caption));
  return lines;
}
