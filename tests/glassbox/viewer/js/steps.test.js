import { breakPoint } from "../../../../src/backlit/glassbox/viewer/assets/js/breaks.js";
import { readModel } from "../../../../src/backlit/glassbox/viewer/assets/js/model.js";
import { Player } from "../../../../src/backlit/glassbox/viewer/assets/js/player.js";
import { Timeline } from "../../../../src/backlit/glassbox/viewer/assets/js/steps.js";
import { Values } from "../../../../src/backlit/glassbox/viewer/assets/js/values.js";
import { describe } from "../../../../src/backlit/glassbox/viewer/assets/js/words.js";
import { equal, test } from "./harness.js";

const scalar = (value) => ({
  shape: [],
  dtype: "float64",
  values: value,
  stats: { norm: Math.abs(value), nans: 0, infs: 0 },
});
const local = (value) => ({ kind: "scalar", text: "", value: scalar(value) });

/** y = x · x at 3, once as z = y and back. */
function square() {
  const node = (id, kind, name, value, inputs = []) => ({
    id,
    kind,
    name,
    op: kind === "operation" ? "mul" : null,
    formula: "z = x · y",
    gate: "swaps",
    shape: [],
    dtype: "float64",
    value: scalar(value),
    module: "",
    inputs,
  });
  const model = readModel({
    nodes: [
      node(0, "variable", "x", 3),
      node(1, "operation", "y", 9, [
        { node: 0, argument: "x", position: 0 },
        { node: 0, argument: "y", position: 1 },
      ]),
    ],
    passes: [
      {
        roots: [{ node: 1, seed: scalar(1) }],
        nodes: [
          { node: 1, upstream: scalar(1) },
          { node: 0, upstream: scalar(6) },
        ],
        edges: [0, 1].map((position) => ({
          node: 1,
          position,
          downstream: scalar(3),
          summed_axes: [],
          local: local(3),
        })),
        leaves: [{ node: 0, before: scalar(2), after: scalar(8) }],
      },
    ],
  });
  const values = new Values(model, model.passes[0]);
  return { model, values, timeline: new Timeline(model, values) };
}

test("forward, the seed, each edge, the sum, the leaf", () => {
  equal(
    square().timeline.steps.map((step) => step.kind),
    ["forward", "seed", "local", "local", "join", "leaf"],
  );
});

test("numbers are known from their steps on", () => {
  const { model, timeline } = square();
  const [x, y] = model.nodes;
  equal(
    [0, 1].map((position) => timeline.knowsValue(y, position)),
    [false, true],
  );
  equal(
    [4, 5].map((position) => timeline.knowsUpstream(x, position)),
    [false, true],
  );
  equal(
    [2, 3].map((position) => timeline.knowsEdge(y.inputs[0], position)),
    [false, true],
  );
  equal([timeline.arrival(y, "forward"), timeline.arrival(x, "backward")], [1, 5]);
});

test("steps in words", () => {
  const { values, timeline } = square();
  const said = timeline.steps.map((step) => describe(step, values));
  equal(said[0].numbers, "= 3 · 3 = 9");
  equal(said[2].symbols, "∂y/∂x = ∂y/∂y · ∂y/∂x  (one of the terms)");
  equal(said[2].numbers, "= upstream 1 × local 3 = 3");
  equal(said[4].symbols, "∂y/∂x = ∂y/∂y · ∂y/∂x + ∂y/∂y · ∂y/∂x");
  equal(said[4].numbers, "= 3 + 3 = 6");
  equal(said[5].numbers, "= 2 + 6 = 8");
});

test("steps in one closed module are taken together, and undone together", () => {
  const { timeline } = square();
  const inside = () => "module";
  equal([timeline.next(0, 1, inside), timeline.next(1, 1, inside), timeline.next(6, -1, inside)], [1, 6, 1]);
  equal(
    timeline.next(6, 1, () => null),
    6,
  );
});

test("running stops where a condition holds", () => {
  const { values, timeline } = square();
  const player = new Player(
    timeline,
    () => null,
    () => {},
  );
  player.breaks.push(breakPoint("norm", "2.5", values));
  player.seek(0);
  player.run();
  equal(player.position, 3);
  player.breaks.pop();
  player.run();
  equal(player.atEnd, true);
});

test("a condition needs what it compares with", () => {
  const { values } = square();
  equal(breakPoint("norm", "much", values).error, '"much" is not a number.');
  equal(breakPoint("op", " ", values).error, "Say what: operation is …");
});
