import { evaluate } from "../../../../src/backlit/glassbox/viewer/assets/js/expressions.js";
import {
  broadcastShape,
  expand,
  fromNumbers,
  keptShape,
  map,
  matmul,
  permute,
  tensor,
  toNumbers,
  unbroadcast,
} from "../../../../src/backlit/glassbox/viewer/assets/js/tensors.js";
import { close, equal, test, throws } from "./harness.js";

test("shapes are broadcast from the right", () => {
  equal(broadcastShape([[3, 1], [4], []]), [3, 4]);
  equal(
    map((x, y) => x * y, tensor([2, 1], [1, 2]), tensor([3], [1, 10, 100])),
    tensor([2, 3], [1, 10, 100, 2, 20, 200]),
  );
});

test("what was stretched is summed", () => {
  const g = tensor([2, 3], [1, 2, 3, 4, 5, 6]);
  equal(unbroadcast(g, [3]).data, [5, 7, 9]);
  equal(unbroadcast(g, [2, 1]).data, [6, 15]);
  equal(unbroadcast(g, []).data, [21]);
  equal(expand(tensor([2, 1], [1, 2]), [2, 3]).data, [1, 1, 1, 2, 2, 2]);
});

test("products of matrices and vectors", () => {
  const a = tensor([2, 2], [1, 2, 3, 4]);
  equal(matmul(a, tensor([2, 1], [1, 1])), tensor([2, 1], [3, 7]));
  equal(matmul(a, tensor([2], [1, 1])), tensor([2], [3, 7]));
  equal(matmul(tensor([2], [1, 1]), a), tensor([2], [4, 6]));
});

test("axes in another order", () => {
  equal(permute(tensor([2, 3], [1, 2, 3, 4, 5, 6]), [1, 0]), tensor([3, 2], [1, 4, 2, 5, 3, 6]));
  equal(permute(tensor([1, 2, 2], [1, 2, 3, 4]), [2, 0, 1]).data, [1, 3, 2, 4]);
});

test("reduced axes are kept as ones", () => {
  equal(
    [keptShape([2, 3], null), keptShape([2, 3], -1), keptShape([2, 3], [0])],
    [
      [1, 1],
      [2, 1],
      [1, 3],
    ],
  );
});

test("numbers come and go, rounded to the dtype", () => {
  equal(fromNumbers({ shape: [2], values: [1, "inf"] }), tensor([2], [1, Infinity]));
  equal(fromNumbers({ shape: [100] }), null);
  equal(toNumbers(tensor([1, 1], [0.1]), "float32").values, [[Math.fround(0.1)]]);
  equal(toNumbers(tensor([2], [3, -4]), "float64").stats.norm, 5);
});

test("formulas", () => {
  const named = { x: tensor([2], [1, -1]) };
  equal(evaluate(["where", ["gt", "x", 0], "x", ["mul", 2, "x"]], named).data, [1, -2]);
  equal(evaluate(["gated", 0, "inf"], {}).data, [0]);
  close(
    evaluate(["erf", "x"], { x: tensor([3], [0.5, 3, -1]) }).data,
    [0.5204998778130465, 0.9999779095030014, -0.8427007929497149],
  );
});

test("there is nothing but what is known", () => {
  throws(() => evaluate(["constructor", 1], {}), "no function");
  throws(() => evaluate("x", {}), "no value");
});
