// The numbers of one pass, with what the reader edited laid over what was recorded.

import { flatValues } from "./numbers.js";

export class Values {
  /** Numbers of a model and one of its passes (null where nothing went backward). */
  constructor(model, pass) {
    this.model = model;
    this.pass = pass ?? {
      upstream: new Map(),
      seeds: new Map(),
      flows: new Map(),
      leaves: new Map(),
      walk: [],
      terms: new Map(),
    };
    this.clear();
  }

  /** Forget every edit. */
  clear() {
    this.changed = { values: new Map(), upstream: new Map(), downstream: new Map() };
    this.unknown = new Set();
  }

  /** Lay recomputed numbers over the recorded ones; `unknown` are the nodes that could not be recomputed. */
  lay(changed, unknown) {
    this.changed = changed;
    this.unknown = unknown;
  }

  get edited() {
    const { values, upstream, downstream } = this.changed;
    return values.size + upstream.size + downstream.size > 0;
  }

  value(node) {
    return this.changed.values.get(node.id) ?? node.value ?? null;
  }

  upstream(node) {
    return this.changed.upstream.get(node.id) ?? this.pass.upstream.get(node.id) ?? null;
  }

  seed(node) {
    return this.pass.seeds.has(node.id) ? (this.pass.seeds.get(node.id) ?? null) : null;
  }

  /** Whether the backward pass went along an edge. */
  flows(edge) {
    return this.pass.flows.has(edge.key);
  }

  downstream(edge) {
    return this.changed.downstream.get(edge.key) ?? this.pass.flows.get(edge.key)?.downstream ?? null;
  }

  /** {kind, text, value} of an edge, and the axes over which broadcasting was undone. */
  local(edge) {
    return this.pass.flows.get(edge.key)?.local ?? null;
  }

  summedAxes(edge) {
    return this.pass.flows.get(edge.key)?.summed_axes ?? null;
  }

  /** The edges whose contributions add up to a node's upstream gradient. */
  terms(node) {
    return this.pass.terms.get(node.id) ?? [];
  }

  leaf(node) {
    return this.pass.leaves.get(node.id) ?? null;
  }

  isChanged(node) {
    return this.changed.values.has(node.id) || this.changed.upstream.has(node.id);
  }

  /** The sum of what several edges of one value bring back; null where it cannot be had from the record. */
  sumOf(edges) {
    const flowing = edges.filter((edge) => this.flows(edge));
    if (!flowing.length) return null;
    if (flowing.length === 1) return this.downstream(flowing[0]);
    const { source } = flowing[0];
    if (flowing.length === this.terms(source).length && !this.seed(source)) return this.upstream(source);
    const parts = flowing.map((edge) => flatValues(this.downstream(edge)));
    if (parts.includes(null)) return null;
    return { shape: source.shape, values: parts[0].map((_, i) => parts.reduce((sum, part) => sum + part[i], 0)) };
  }
}
