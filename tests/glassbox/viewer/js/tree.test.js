import { readModel } from "../../../../src/backlit/glassbox/viewer/assets/js/model.js";
import { allGroups, ancestors, openUpTo } from "../../../../src/backlit/glassbox/viewer/assets/js/tree.js";
import { buildView, sharedCluster, shownAs, summary } from "../../../../src/backlit/glassbox/viewer/assets/js/view.js";
import { equal, test } from "./harness.js";

let next = 0;
const leaf = (name) => ({ id: next++, kind: "parameter", name, shape: [2, 3], inputs: [] });
const operation = (module, ...inputs) => ({
  id: next++,
  kind: "operation",
  op: "add",
  name: `op${next}`,
  module,
  shape: [],
  inputs: inputs.map((node, position) => ({ node: node.id, argument: "x", position })),
});
const model = (...nodes) => readModel({ nodes, passes: [] });

test("a leaf lies in the innermost module that holds its users", () => {
  const [w, shared] = [leaf("w"), leaf("shared")];
  const found = model(w, shared, operation("net.a", w, shared), operation("net.b", shared));
  equal(
    found.nodes.slice(0, 2).map((node) => node.path.join(".")),
    ["net.a", "net"],
  );
});

test("closed modules stand for what is in them, and wires for the edges between", () => {
  const w = leaf("w");
  const first = operation("net.a", w);
  const second = operation("net.a", first, w);
  const found = model(w, first, second, operation("net.b", second, second));
  const [net] = found.tree.groups;
  const view = buildView(found, new Set([net]));
  equal([...view.items.keys()], ["group net.a", "group net.b"]);
  equal(
    view.wires.filter((wire) => wire.to).map((wire) => wire.edges.length),
    [2],
  );
  equal(summary(net.groups[0]), "2 operations · 6 weights");
  equal(sharedCluster(view.wires[0]) === net, true);
});

test("a module that holds nothing but another is one with it", () => {
  const found = model(operation("net.layers.0"), operation("net.layers.1"));
  equal(
    allGroups(found.tree).map((group) => group.label),
    ["net.layers", "layers.0", "layers.1"],
  );
});

test("numbered modules are opened together or not at all", () => {
  const inside = (i) => [1, 2, 3, 4].map(() => operation(`net.blocks.${i}`));
  const found = model(...[0, 1, 2].flatMap(inside), operation("net.head"), operation("net.head"));
  const opened = (most) => [...openUpTo(found.tree, most)].map((group) => group.label);
  equal(opened(5), ["net", "blocks", "head"]);
  equal(opened(30).length, 6);
});

test("long stretches are cut into parts", () => {
  const found = model(...Array.from({ length: 200 }, () => operation("")));
  equal(
    found.tree.groups.map((group) => group.nodes.length),
    [60, 60, 60, 20],
  );
  equal(
    ancestors(found.nodes[70]).map((group) => group.label),
    ["operations 61–120"],
  );
  equal(shownAs(found.nodes[70], new Set()).label, "operations 61–120");
});
