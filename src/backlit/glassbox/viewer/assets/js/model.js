// The record as the page reads it: nodes that know their edges, the edges' gradients of one pass, the tree of modules.

import { buildTree } from "./tree.js";

const SYMBOLS = {
  add: "+",
  sub: "−",
  mul: "×",
  div: "÷",
  neg: "−x",
  pow: "xʸ",
  square: "x²",
  sqrt: "√",
  matmul: "@",
  sigmoid: "σ",
  relu: "ReLU",
  maximum: "max",
  minimum: "min",
  reciprocal: "1/x",
  abs: "|x|",
  gelu: "GELU",
};

/** What is written in an operation's circle. */
export function symbol(node) {
  return SYMBOLS[node.op] ?? node.op ?? node.name;
}

/** What a node is called in a formula: the user's variable, or the record's name. */
export function spoken(node) {
  return node.name;
}

/** What is written at a node: its name inside its module, without the number that tells equal names apart. */
export function shortName(node) {
  return node.name.replace(/#\d+$/, "").split(".").pop();
}

/** The user's name for an operation's result; null where it has none. */
export function variable(node) {
  const name = shortName(node);
  return name === node.op ? null : name;
}

/**
 * Nodes with `inputs` and `users` as edges {source, target, position, argument, key}, `order` (place in the forward
 * pass) and `path` (module names, outermost first); `tree`, the root of the modules; `passes`.
 */
export function readModel(record, programs = {}) {
  const nodes = record.nodes.map((entry, order) => ({ ...entry, order, inputs: [], users: [], path: [] }));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const edges = new Map();
  record.nodes.forEach((entry, order) => connect(entry, nodes[order], byId, edges));
  placeInModules(nodes);
  const passes = record.passes.map((pass) => readPass(pass, byId, edges));
  const tree = buildTree(nodes);
  const roots = findRoots(nodes, passes, byId);
  return { title: record.title || "", nodes, byId, edges, tree, roots, passes, programs, notes: record.notes ?? [] };
}

function findRoots(nodes, passes, byId) {
  const ids = new Set(passes.flatMap((pass) => [...pass.seeds.keys()]));
  return ids.size ? [...ids].map((id) => byId.get(id)) : nodes.filter((node) => !node.users.length);
}

function connect(entry, target, byId, edges) {
  for (const input of entry.inputs ?? []) {
    const key = `${entry.id}:${input.position}`;
    const edge = { key, source: byId.get(input.node), target, position: input.position, argument: input.argument };
    target.inputs.push(edge);
    edge.source.users.push(edge);
    edges.set(key, edge);
  }
}

/** Leaves belong to the innermost module that holds all their users: a weight lies inside its layer. */
function placeInModules(nodes) {
  for (const node of nodes) if (node.kind === "operation") node.path = node.module ? node.module.split(".") : [];
  for (const node of nodes)
    if (node.kind !== "operation") node.path = sharedPath(node.users.map((edge) => edge.target.path));
}

function sharedPath(paths) {
  if (!paths.length) return [];
  let length = 0;
  while (paths[0].length > length && paths.every((path) => path[length] === paths[0][length])) length += 1;
  return paths[0].slice(0, length);
}

function readPass(pass, byId, edges) {
  const upstream = new Map(pass.nodes.map((entry) => [entry.node, entry.upstream]));
  const seeds = new Map(pass.roots.map((root) => [root.node, root.seed]));
  const flows = new Map();
  for (const entry of pass.edges) flows.set(`${entry.node}:${entry.position}`, entry);
  const leaves = new Map((pass.leaves ?? []).map((leaf) => [leaf.node, leaf]));
  const walk = pass.nodes.map((entry) => byId.get(entry.node));
  const terms = new Map();
  for (const [key] of flows) {
    const edge = edges.get(key);
    if (!terms.has(edge.source.id)) terms.set(edge.source.id, []);
    terms.get(edge.source.id).push(edge);
  }
  return { upstream, seeds, flows, leaves, walk, terms };
}
