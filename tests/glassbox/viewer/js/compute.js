// Formulas of operations, evaluated as the page evaluates them; called by test_viewer_programs.py.

import { ruleFor } from "../../../../src/backlit/glassbox/viewer/assets/js/rules.js";
import { tensor } from "../../../../src/backlit/glassbox/viewer/assets/js/tensors.js";

globalThis.compute = (cases) =>
  cases.map(({ program, inputs, upstream, pulls }) => {
    const rule = ruleFor({ id: 0 }, [], { list: [program], of: { 0: 0 } });
    const operands = inputs.map((data) => tensor([3, 2], data));
    const g = tensor([3, 2], upstream);
    const found = Object.keys(pulls).map((name) => [
      name,
      rule.backward(g, operands, program.inputs.indexOf(name)).data,
    ]);
    return { value: expanded(rule.forward(operands)), pulls: Object.fromEntries(found) };
  });

function expanded({ data }) {
  return data.length === 6 ? data : new Array(6).fill(data[0]);
}
