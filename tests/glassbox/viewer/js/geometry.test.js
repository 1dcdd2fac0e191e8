import { nearest } from "../../../../src/backlit/glassbox/viewer/assets/js/keyboard.js";
import { meetOutline } from "../../../../src/backlit/glassbox/viewer/assets/js/outlines.js";
import { arrowHead, curvesPath } from "../../../../src/backlit/glassbox/viewer/assets/js/paths.js";
import { inRows, oneRow } from "../../../../src/backlit/glassbox/viewer/assets/js/rows.js";
import { close, equal, test } from "./harness.js";

/** Boxes in a line, a wire from each to the next. */
function ribbon(count) {
  const boxes = new Map(
    Array.from({ length: count }, (_, i) => [
      `b${i}`,
      { x: 100 * i + 50, y: 20, width: 40, height: 40, cluster: null },
    ]),
  );
  const curve = (i) => ({
    points: [
      { x: 100 * i + 70, y: 20 },
      { x: 100 * i + 90, y: 20 },
      { x: 100 * i + 110, y: 20 },
      { x: 100 * i + 125, y: 20 },
    ],
    tip: { x: 100 * i + 130, y: 20 },
  });
  const wires = new Map(Array.from({ length: count - 1 }, (_, i) => [`w${i}`, { curves: [curve(i)], label: null }]));
  return { width: 100 * count, height: 40, boxes, wires, clusters: new Map() };
}

test("a ribbon is set in rows that fill the window", () => {
  const rows = inRows(ribbon(40), { width: 1000, height: 500 });
  equal(rows.rows.length > 2, true);
  equal(Math.max(...[...rows.boxes.values()].map(({ x }) => x)) <= rows.width, true);
  const heights = new Set([...rows.boxes.values()].map(({ y }) => y));
  equal(heights.size, rows.rows.length);
});

test("no cut goes through a box, and wires across a cut are in both rows", () => {
  const rows = inRows(ribbon(40), { width: 1000, height: 500 });
  const cut = rows.rows[0].to;
  equal(
    [...ribbon(40).boxes.values()].some(({ x, width }) => x - width / 2 < cut && cut < x + width / 2),
    false,
  );
  equal([...rows.wires.values()].filter((wire) => wire.pieces.length === 2).length, rows.rows.length - 1);
});

test("what fits stays in one row", () => {
  equal(oneRow(ribbon(3)).rows.length, 1);
});

test("lines end at the outline", () => {
  close(meetOutline({ shape: "circle", x: 0, y: 0, width: 20 }, { x: 30, y: 40 }).x, 6);
  close(
    meetOutline({ shape: "pill", x: 0, y: 0, width: 40, height: 62, caption: "q", captionHeight: 15 }, { x: 0, y: 31 })
      .y,
    16,
  );
});

test("paths and heads", () => {
  const place = {
    curves: [
      {
        points: [
          { x: 0, y: 0 },
          { x: 1, y: 0 },
          { x: 2, y: 0 },
          { x: 3, y: 0 },
        ],
        tip: { x: 10, y: 0 },
      },
    ],
  };
  equal(curvesPath(place), "M0,0C1,0 2,0 3,0L10,0");
  equal(arrowHead(place, true).points.split(" ")[0], "10,0");
  equal(arrowHead(place, false).points.split(" ")[0], "0,0");
  equal(arrowHead({ curves: [] }, true), null);
});

test("the nearest place in a direction", () => {
  const places = [
    ["up", { x: 0, y: -10 }],
    ["right", { x: 30, y: 2 }],
    ["far", { x: 90, y: 0 }],
  ];
  equal(
    [
      [1, 0],
      [0, -1],
      [-1, 0],
    ].map((direction) => nearest({ x: 0, y: 0 }, places, direction)),
    ["right", "up", null],
  );
});
