// The forward and the backward pass as a list of steps, and when each number becomes known.

/**
 * Steps are {kind, node, ...}: "forward" computes a node, "seed" starts the backward pass, "local" multiplies upstream
 * by local along `edge`, "join" adds the `terms` of a node, "leaf" ends in a leaf's gradient.
 */
export function listSteps(model, values) {
  const steps = [];
  for (const node of model.nodes) if (node.kind === "operation") steps.push({ kind: "forward", node });
  const forward = steps.length;
  for (const node of values.pass.walk) addBackward(steps, node, values);
  return { steps, forward };
}

function addBackward(steps, node, values) {
  if (values.seed(node)) steps.push({ kind: "seed", node });
  const terms = values.terms(node);
  if (terms.length + (values.seed(node) ? 1 : 0) > 1) steps.push({ kind: "join", node, terms });
  for (const edge of node.inputs) if (values.flows(edge)) steps.push({ kind: "local", node, edge });
  if (values.leaf(node)) steps.push({ kind: "leaf", node });
}

/** When (after how many steps) values, upstream gradients and contributions are known. */
export class Timeline {
  constructor(model, values) {
    Object.assign(this, listSteps(model, values));
    this.values = new Map();
    this.upstream = new Map();
    this.edges = new Map();
    this.steps.forEach((step, i) => this.note(step, i + 1));
  }

  get length() {
    return this.steps.length;
  }

  note(step, time) {
    if (step.kind === "forward") this.values.set(step.node.id, time);
    else if (step.kind === "seed" || step.kind === "join") this.upstream.set(step.node.id, time);
    else if (step.kind === "local") {
      this.edges.set(step.edge.key, time);
      this.upstream.set(step.edge.source.id, time);
    }
  }

  /** Whether a node's value is known after a number of steps; leaves are there from the start. */
  knowsValue(node, position) {
    return (this.values.get(node.id) ?? 0) <= position;
  }

  knowsUpstream(node, position) {
    return (this.upstream.get(node.id) ?? Infinity) <= position;
  }

  /** Whether an edge's contribution is known; edges that no gradient passes never have one. */
  knowsEdge(edge, position) {
    return (this.edges.get(edge.key) ?? Infinity) <= position;
  }

  /** The first position from which a node's value ("forward") or all of its gradient ("backward") is there. */
  arrival(node, direction) {
    const known = direction === "forward" ? (this.values.get(node.id) ?? 0) : this.upstream.get(node.id);
    return known ?? null;
  }

  /** The next position in a direction (1 or −1), taking all steps inside one closed module as one. */
  next(position, direction, placeOf) {
    let at = position + direction;
    if (at < 0 || at > this.length) return position;
    const place = this.placeAt(at, placeOf);
    while (
      place &&
      at + direction > 0 &&
      at + direction <= this.length &&
      this.placeAt(at + direction, placeOf) === place
    ) {
      at += direction;
    }
    return direction < 0 && place ? Math.max(at - 1, 0) : at;
  }

  /** The closed module in which the step that leads to a position happens, with the pass it belongs to. */
  placeAt(position, placeOf) {
    if (position < 1) return null;
    const place = placeOf(this.steps[position - 1].node);
    return place ? `${position <= this.forward ? "f" : "b"} ${place}` : null;
  }
}
