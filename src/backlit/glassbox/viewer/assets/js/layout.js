// Where everything is drawn. Graphviz lays out boxes, labels and modules; this file speaks to it and caches answers.

import { boxOf, labelBox } from "./boxes.js";
import { meetOutline } from "./outlines.js";
import { inRows, oneRow } from "./rows.js";
import { sharedCluster } from "./view.js";

const INCH = 72;
const MOST_LABELS = 220;

const GRAPH = { rankdir: "LR", nodesep: 0.16, ranksep: 0.22, pad: 0, margin: 0, compound: true, newrank: false };

let engine = null;

/** Wait until Graphviz is ready: it is compiled once. The script beside this one, vendor/viz-global.js, brings it. */
export async function prepare() {
  engine ??= await globalThis.Viz.instance();
}

const WIDE = 1.2;

/** Lays out views of one record, remembering each; `numbers` gives the values that the labels must have room for. */
export class Layouts {
  constructor(numbers) {
    this.numbers = numbers;
    this.known = new Map();
  }

  /**
   * {width, height, rows, boxes, wires, clusters} in pixels, with maps from item, wire and group keys to places, for a
   * window of a size: what is much wider is set in rows.
   */
  of(view, window) {
    const key = [...view.clusters]
      .map((group) => group.key)
      .sort()
      .join("|");
    if (!this.known.has(key)) this.known.set(key, layOut(view, this.numbers));
    const whole = this.known.get(key);
    return whole.width > WIDE * window.width ? inRows(whole, window) : oneRow(whole);
  }
}

function layOut(view, numbers) {
  const labelled = view.wires.length <= MOST_LABELS;
  const plan = new Plan(view);
  for (const item of view.items.values()) plan.addItem(item);
  for (const wire of view.wires) plan.addWire(wire, labelled || !wire.to ? labelBox(wire, numbers) : null);
  const result = engine.render(plan.graph, { format: "json0" });
  if (result.status !== "success") throw new Error(`Graphviz: ${result.errors.map((e) => e.message).join("; ")}`);
  return new Reading(JSON.parse(result.output), plan).geometry();
}

/** The graph that is handed to Graphviz, with short names that say nothing. */
class Plan {
  constructor(view) {
    this.graph = subgraph({ ...GRAPH });
    this.graph.directed = true;
    this.graph.nodeAttributes = { fixedsize: true, label: "", shape: "box" };
    this.graph.edgeAttributes = { arrowsize: 0.7 };
    this.clusters = new Map();
    this.items = new Map();
    this.labels = new Map();
    this.parts = [];
    for (const group of view.clusters) this.cluster(group);
  }

  cluster(group) {
    if (!group?.parent) return this.graph;
    if (!this.clusters.has(group)) {
      const made = subgraph({ margin: 12, label: "x".repeat(group.label.length + 3), fontsize: 14, labeljust: "l" });
      made.name = `cluster_${this.clusters.size}`;
      this.clusters.set(group, made);
      this.cluster(group.parent).subgraphs.push(made);
    }
    return this.clusters.get(group);
  }

  addItem(item) {
    const box = { ...boxOf(item), cluster: item.cluster };
    const name = `i${this.items.size}`;
    this.items.set(item.key, { name, box });
    this.place(item.cluster, name, box.outer ?? box.width, box.height, box.shape === "circle" && !box.caption);
  }

  addWire(wire, label) {
    const from = this.items.get(wire.from.key).name;
    const to = wire.to && this.items.get(wire.to.key).name;
    if (!label) {
      if (to) this.edge(wire, from, to, {});
      return;
    }
    const name = `l${this.labels.size}`;
    const cluster = sharedCluster(wire);
    this.labels.set(wire.key, { name, cluster, ...label });
    this.place(cluster, name, label.width, label.height);
    this.edge(wire, from, name, { arrowhead: "none", headport: "w", weight: 2 });
    if (to) this.edge(wire, name, to, { tailport: "e", weight: 2 });
  }

  place(group, name, width, height, round = false) {
    const attributes = { width: width / INCH, height: height / INCH };
    if (round) attributes.shape = "circle";
    this.cluster(group).nodes.push({ name, attributes });
  }

  edge(wire, tail, head, attributes) {
    this.graph.edges.push({ tail, head, attributes: { ...attributes, id: String(this.parts.length) } });
    this.parts.push(wire.key);
  }
}

function subgraph(graphAttributes) {
  return { graphAttributes, nodes: [], edges: [], subgraphs: [] };
}

/** Graphviz's answer, with y downwards. */
class Reading {
  constructor(answer, plan) {
    const [, , width, height] = answer.bb.split(",").map(Number);
    Object.assign(this, { answer, plan, width, height });
    this.keys = new Map([...plan.items].map(([key, { name }]) => [name, key]));
    this.objects = new Map((answer.objects ?? []).map((object) => [object.name, object]));
  }

  geometry() {
    const boxes = new Map();
    for (const [key, { name, box }] of this.plan.items) boxes.set(key, { ...box, ...this.centre(name) });
    const clusters = new Map();
    for (const [group, made] of this.plan.clusters) {
      const object = this.objects.get(made.name);
      if (object?.bb) clusters.set(group.key, { group, ...this.rectangle(object.bb) });
    }
    return { width: this.width, height: this.height, boxes, wires: this.wires(), clusters };
  }

  centre(name) {
    const [x, y] = this.objects.get(name).pos.split(",").map(Number);
    return { x, y: this.height - y };
  }

  rectangle(bb) {
    const [left, bottom, right, top] = bb.split(",").map(Number);
    return { x: left, y: this.height - top, width: right - left, height: top - bottom };
  }

  wires() {
    const wires = new Map();
    for (const edge of this.answer.edges ?? []) {
      const key = this.plan.parts[Number(edge.id)];
      if (!wires.has(key)) wires.set(key, { curves: [], label: null });
      wires.get(key).curves.push(this.curve(edge));
    }
    for (const [key, label] of this.plan.labels) {
      if (!wires.has(key)) wires.set(key, { curves: [], label: null });
      wires.get(key).label = { ...label, ...this.centre(label.name) };
    }
    return wires;
  }

  /** A spline as its points, the tip of the arrow last where there is one, from outline to outline. */
  curve(edge) {
    let tip = null;
    const points = [];
    for (const part of edge.pos.split(" ")) {
      const numbers = part.split(",");
      const [x, y] = numbers.slice(-2).map(Number);
      const point = { x, y: this.height - y };
      if (numbers[0] === "e") tip = point;
      else if (numbers[0] !== "s") points.push(point);
    }
    const [from, to] = [this.boxNamed(edge.tail), this.boxNamed(edge.head)];
    return { points, start: from && meetOutline(from, points[0]), tip: tip && to ? meetOutline(to, tip) : tip };
  }

  /** The box of one of Graphviz's nodes; null for a label. */
  boxNamed(place) {
    const key = this.keys.get(this.answer.objects[place].name);
    return key === undefined
      ? null
      : { ...this.plan.items.get(key).box, ...this.centre(this.answer.objects[place].name) };
  }
}
