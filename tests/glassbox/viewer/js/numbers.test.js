import {
  format,
  bytes,
  gradientLabel,
  percent,
  shapeText,
  table,
  toNumber,
  valueText,
} from "../../../../src/backlit/glassbox/viewer/assets/js/numbers.js";
import { equal, test } from "./harness.js";

test("four significant digits, with a minus sign", () => {
  equal([-1 / 3, 12, 0.00012345, 1234567, 0.5, -4, 123456].map(format), [
    "−0.3333",
    "12",
    "1.234e−4",
    "1.235e6",
    "0.5",
    "−4",
    "123456",
  ]);
});

test("what JSON has no numbers for", () => {
  equal(["nan", "inf", "-inf"].map(toNumber), [NaN, Infinity, -Infinity]);
  equal(["nan", "inf", "-inf"].map(format), ["NaN", "∞", "−∞"]);
});

test("shapes, shares and sizes", () => {
  equal([[], [3], [2, 3]].map(shapeText), ["scalar", "(3)", "2×3"]);
  equal(percent(0.1234), "12.3 %");
  equal([10, 2048, 3 * 1024 ** 2].map(bytes), ["10 B", "2 KiB", "3 MiB"]);
});

test("short tensors are written out, longer ones by their norm", () => {
  equal(valueText({ shape: [2], values: [1, -2] }), "[1, −2]");
  equal(valueText({ shape: [4], values: [1, 2, 3, 4] }), null);
  equal(gradientLabel({ shape: [9], stats: { norm: 0.25 } }), "‖0.25‖");
  equal(gradientLabel(null), null);
});

test("tables have the rows of the last dimension", () => {
  equal(
    table({
      shape: [2, 2],
      values: [
        [1, 2],
        [3, "nan"],
      ],
    }),
    [
      ["1", "2"],
      ["3", "NaN"],
    ],
  );
});
