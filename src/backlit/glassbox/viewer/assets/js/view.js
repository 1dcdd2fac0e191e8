// What of the graph is drawn: nodes whose modules are all open, boxes for closed modules, and the wires between them.

import { ancestors } from "./tree.js";
import { sizeOf } from "./numbers.js";

/** The node itself, or the outermost closed group around it. */
export function shownAs(node, open) {
  return ancestors(node).find((group) => !open.has(group)) ?? node;
}

/** A name for a thing that is drawn, the same for every view of the record. */
export function itemKey(thing) {
  return thing.all ? `group ${thing.key}` : `node ${thing.id}`;
}

/**
 * {items, wires, clusters}: an item is {key, node or group, cluster}; a wire runs between two items and stands for one
 * edge or, between closed groups, for several, or leaves a root (`to` is null); clusters are the open groups that
 * something is drawn in.
 */
export function buildView(model, open) {
  const items = new Map();
  const placed = new Map();
  for (const node of model.nodes) placed.set(node, itemOf(shownAs(node, open), items));
  const wires = new Map();
  for (const edge of model.edges.values()) addWire(wires, placed.get(edge.source), placed.get(edge.target), edge);
  for (const root of model.roots) {
    const key = `out ${root.id}`;
    wires.set(key, { key, from: placed.get(root), to: null, edges: [], root });
  }
  const clusters = new Set();
  for (const item of items.values()) {
    for (let group = item.cluster; group?.parent; group = group.parent) clusters.add(group);
  }
  return { items, wires: [...wires.values()], clusters, placed, open };
}

function itemOf(thing, items) {
  const key = itemKey(thing);
  if (!items.has(key)) {
    const item = thing.all ? { key, group: thing, cluster: thing.parent } : { key, node: thing, cluster: thing.group };
    items.set(key, item);
  }
  return items.get(key);
}

/** Edges from one value into a closed group are one wire; an operation that takes a value twice has two. */
function addWire(wires, from, to, edge) {
  if (from === to) return;
  const key = `${from.key}>${to.key}>${edge.source.id}` + (to.node ? `>${edge.position}` : "");
  if (!wires.has(key)) wires.set(key, { key, from, to, edges: [] });
  wires.get(key).edges.push(edge);
}

/** What a closed group holds, in a few words. */
export function summary(group) {
  const operations = group.all.filter((node) => node.kind === "operation").length;
  const parameters = group.all.filter((node) => node.kind === "parameter");
  const count = parameters.reduce((sum, node) => sum + sizeOf(node.shape), 0);
  const words = [`${operations} operation${operations === 1 ? "" : "s"}`];
  if (count) words.push(`${count.toLocaleString("en-US")} weights`);
  return words.join(" · ");
}

/** The innermost open group around both ends of a wire, where its label belongs. */
export function sharedCluster(wire) {
  const outer = new Set();
  for (let group = wire.from.cluster; group; group = group.parent) outer.add(group);
  let group = (wire.to ?? wire.from).cluster;
  while (group && !outer.has(group)) group = group.parent;
  return group;
}
