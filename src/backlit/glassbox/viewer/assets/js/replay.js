// What an edit changes: the forward pass from an edited value on, and the backward pass with other values or gradients.

import { flatValues, sizeOf } from "./numbers.js";
import { ruleFor } from "./rules.js";
import { add, fromNumbers, map, matmul, tensor, toNumbers, unbroadcast } from "./tensors.js";

/**
 * {changed: {values, upstream, downstream}, unknown}: Numbers by node id or edge key, and the ids of nodes that depend
 * on the edits but cannot be recomputed from what the record holds. `edits` has maps `values` and `gradients` from node
 * ids to tensors.
 */
export function replay(model, values, edits) {
  const run = new Replay(model, values, edits);
  run.forward();
  run.backward();
  return { changed: run.changed, unknown: run.unknown };
}

class Replay {
  constructor(model, values, edits) {
    Object.assign(this, { model, recorded: values, edits, unknown: new Set() });
    this.changed = { values: new Map(), upstream: new Map(), downstream: new Map() };
    this.lostGradients = new Set();
  }

  // ---- forward

  forward() {
    for (const node of this.model.nodes) {
      if (this.edits.values.has(node.id)) this.keep(this.changed.values, node.id, this.edits.values.get(node.id), node);
      else if (node.inputs.some((edge) => this.isTouched(edge.source))) this.computeAgain(node);
    }
  }

  isTouched(node) {
    return this.changed.values.has(node.id) || this.unknown.has(node.id);
  }

  computeAgain(node) {
    const inputs = node.inputs.map((edge) => this.valueOf(edge.source));
    const rule = inputs.includes(null) ? null : ruleFor(node, inputs, this.model.programs);
    const result = rule && attempt(() => rule.forward(inputs));
    if (result) this.keep(this.changed.values, node.id, result, node, node.value);
    else this.unknown.add(node.id);
  }

  /** Note a result, unless it is what was recorded. */
  keep(results, key, value, node, recorded = null) {
    const found = toNumbers(value, node.dtype);
    const [now, before] = [found, recorded].map(flatValues);
    if (!before || now.some((x, i) => !Object.is(x, before[i]))) results.set(key, found);
  }

  valueOf(node) {
    if (this.unknown.has(node.id)) return null;
    return fromNumbers(this.changed.values.get(node.id) ?? node.value);
  }

  // ---- backward

  backward() {
    for (const node of this.recorded.pass.walk) {
      this.gather(node);
      for (const edge of node.inputs) if (this.recorded.flows(edge)) this.pull(edge);
    }
  }

  /** A node's upstream gradient: edited, or summed anew where a term changed. */
  gather(node) {
    if (this.edits.gradients.has(node.id)) {
      this.keep(this.changed.upstream, node.id, this.edits.gradients.get(node.id), node);
      return;
    }
    const terms = this.recorded.terms(node);
    if (terms.some((edge) => this.lostGradients.has(edge.key))) this.lose(node);
    else if (terms.some((edge) => this.changed.downstream.has(edge.key))) this.sum(node, terms);
  }

  lose(node) {
    this.unknown.add(node.id);
    for (const edge of node.inputs) this.lostGradients.add(edge.key);
  }

  sum(node, terms) {
    const seed = this.recorded.pass.seeds.get(node.id);
    const parts = terms.map((edge) => fromNumbers(this.changed.downstream.get(edge.key) ?? this.flow(edge).downstream));
    if (seed) parts.push(fromNumbers(seed));
    if (parts.includes(null)) this.lose(node);
    else this.keep(this.changed.upstream, node.id, parts.reduce(add), node, this.recorded.pass.upstream.get(node.id));
  }

  flow(edge) {
    return this.recorded.pass.flows.get(edge.key);
  }

  /** An edge's contribution, where its upstream gradient or the values behind its local gradient changed. */
  pull(edge) {
    const node = edge.target;
    const moved = this.isTouched(node) || node.inputs.some((each) => this.isTouched(each.source));
    if (!moved && !this.changed.upstream.has(node.id)) return;
    const upstream = fromNumbers(this.changed.upstream.get(node.id) ?? this.recorded.pass.upstream.get(node.id));
    const result = upstream && !this.lostGradients.has(edge.key) ? this.contribution(edge, upstream, moved) : null;
    if (result) this.keep(this.changed.downstream, edge.key, result, edge.source, this.flow(edge).downstream);
    else this.lostGradients.add(edge.key);
  }

  contribution(edge, upstream, moved) {
    const inputs = edge.target.inputs.map((each) => this.valueOf(each.source));
    const rule = inputs.includes(null) ? null : ruleFor(edge.target, inputs, this.model.programs);
    const computed = rule && attempt(() => rule.backward(upstream, inputs, edge.position));
    return computed ?? (moved ? null : fromLocal(this.flow(edge).local, upstream, edge));
  }
}

/** Upstream times the recorded local gradient, which still holds while no value changed. */
function fromLocal(local, upstream, edge) {
  const factor =
    local && fromNumbers(typeof local.value === "number" ? { shape: [], values: local.value } : local.value);
  if (!factor) return null;
  if (local.kind === "scalar")
    return unbroadcast(
      map((g, f) => g * f, upstream, tensor([], [factor.data[0]])),
      edge.source.shape,
    );
  if (local.kind === "diagonal")
    return unbroadcast(
      map((g, f) => g * f, upstream, factor),
      edge.source.shape,
    );
  if (local.kind !== "matrix") return null;
  const [rows, columns] = [edge.target, edge.source].map((node) => sizeOf(node.shape));
  const row = matmul(tensor([1, rows], upstream.data), tensor([rows, columns], factor.data));
  return tensor(edge.source.shape, row.data);
}

function attempt(compute) {
  try {
    return compute();
  } catch {
    return null;
  }
}
