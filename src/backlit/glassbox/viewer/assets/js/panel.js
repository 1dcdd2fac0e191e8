// Everything that the record says about one node or module.

import { heatMap, histogram, numberTable } from "./charts.js";
import { button, html } from "./dom.js";
import { spoken } from "./model.js";
import { bytes, format, gradientLabel, percent, shapeText, sizeOf, toNumber } from "./numbers.js";
import { summary } from "./view.js";
import { derivative, meanings, product, summed } from "./words.js";

/** The panel's children for an item; `act` is what its buttons do: select, runTo, editValue, editGradient, toggle. */
export function describeItem(item, values, act) {
  return item.group ? groupPanel(item.group, values, act) : nodePanel(item.node, values, act);
}

function groupPanel(group, values, act) {
  const operations = group.all.filter((node) => node.kind === "operation");
  const parameters = group.all.filter((node) => node.kind === "parameter");
  return [
    html("h2", {}, group.label),
    html("p", { class: "muted" }, `Module ${group.key} · ${summary(group)}`),
    html(
      "div",
      { class: "actions" },
      button("Open or close", "Open or close this module", () => act.toggle(group)),
    ),
    parameters.length ? section("Parameters", rows(parameters.map((node) => parameterRow(node, values, act)))) : null,
    section(
      "Operations",
      html(
        "ol",
        { class: "list" },
        operations.slice(0, 200).map((node) => html("li", {}, link(node, act), ` ${node.op}`)),
      ),
    ),
  ];
}

function parameterRow(node, values, act) {
  const norm = values.upstream(node)?.stats?.norm;
  return [link(node, act), shapeText(node.shape), norm === undefined ? "no gradient" : `‖∇‖ ${format(norm)}`];
}

function nodePanel(node, values, act) {
  return [
    html("h2", {}, spoken(node)),
    html("p", { class: "muted" }, kindLine(node)),
    values.unknown.has(node.id) ? html("p", { class: "warning" }, UNKNOWN) : null,
    actions(node, values, act),
    rule(node),
    source(node),
    numbersSection("Value", values.value(node), node, act.editValue && (() => act.editValue(node))),
    numbersSection(`Gradient ${derivative(node, values)}`, values.upstream(node), node, () => act.editGradient(node)),
    joins(node, values, act),
    inputs(node, values, act),
    users(node, values, act),
    leaf(node, values),
    memory(node),
  ];
}

const UNKNOWN =
  "This number depends on an edit and cannot be recomputed in the page: the record does not hold what it takes. " +
  "What is shown is what was recorded. In Python, rec.debugger() recomputes everything.";

function kindLine(node) {
  const where = node.module ? ` · in ${node.module}` : "";
  const kind = node.kind === "operation" ? `operation ${node.op}` : node.kind;
  return `${kind} · ${shapeText(node.shape)} · ${node.dtype}${where}`;
}

function actions(node, values, act) {
  const made = [];
  if (node.kind === "operation") {
    made.push(button("Run forward to here", "Run the forward pass up to this node", () => act.runTo(node, "forward")));
  }
  if (values.upstream(node)) {
    made.push(
      button("Run backward to here", "Run the backward pass up to this node", () => act.runTo(node, "backward")),
    );
  }
  return made.length ? html("div", { class: "actions" }, made) : null;
}

function rule(node) {
  if (node.kind !== "operation") return null;
  const parameters = Object.entries(node.params ?? {}).map(([name, value]) => `${name} = ${value}`);
  return section(
    "Rule",
    rows(
      [
        ["formula", node.formula],
        ["gate", node.gate],
        ["domain", node.domain],
        ["written as", node.expression],
        ["settings", parameters.join(", ")],
      ].filter(([, text]) => text),
    ),
  );
}

function source(node) {
  if (!node.source) return null;
  const { file, line, text } = node.source;
  const short = file.split(/[\\/]/).slice(-2).join("/");
  const where = `${short}:${line}${node.source.function ? ` in ${node.source.function}` : ""}`;
  return section(
    "Source",
    html("pre", { class: "source" }, html("code", {}, text || "")),
    html("p", { class: "muted", title: file }, where),
  );
}

function numbersSection(title, numbers, node, edit) {
  if (!numbers) return null;
  const editable = edit && sizeOf(numbers.shape) <= 64 && numbers.values !== undefined && numbers.values !== null;
  return section(
    title,
    numberTable(numbers),
    numbers.picture ? heatMap(numbers.picture) : null,
    numbers.histogram ? histogram(numbers.histogram) : null,
    sizeOf(numbers.shape) > 1 && numbers.stats ? statistics(numbers.stats) : null,
    editable ? html("div", { class: "actions" }, button("Edit", `Edit: ${title} of ${spoken(node)}`, edit)) : null,
  );
}

function statistics(stats) {
  const found = ["min", "max", "mean", "std", "norm", "absmax"].filter(
    (name) => stats[name] !== undefined && stats[name] !== null,
  );
  const pairs = found.map((name) => [NAMES[name] ?? name, format(stats[name])]);
  if (stats.zeros) pairs.push(["zeros", percent(toNumber(stats.zeros))]);
  if (stats.nans) pairs.push(["NaN", String(stats.nans)]);
  if (stats.infs) pairs.push(["∞", String(stats.infs)]);
  return html(
    "dl",
    { class: "statistics" },
    pairs.map(([name, text]) => html("div", {}, html("dt", {}, name), html("dd", {}, text))),
  );
}

const NAMES = { norm: "norm (L2)", absmax: "largest size", std: "std" };

function joins(node, values, act) {
  const terms = values.terms(node);
  if (terms.length < 2) return null;
  const lines = terms.map((edge) => [
    html("span", {}, "from ", link(edge.target, act)),
    gradientLabel(values.downstream(edge)),
  ]);
  const total = gradientLabel(values.upstream(node));
  return section(
    `Sum of ${terms.length} paths`,
    rows([...lines, [html("strong", {}, "sum"), html("strong", {}, total)]]),
  );
}

function inputs(node, values, act) {
  if (!node.inputs.length) return null;
  return section(
    "Inputs and local gradients",
    html(
      "ul",
      { class: "edges" },
      node.inputs.map((edge) => inputEntry(edge, values, act)),
    ),
  );
}

function inputEntry(edge, values, act) {
  const here = values.local(edge);
  const name = html(
    "p",
    {},
    html("code", {}, edge.argument),
    " ← ",
    link(edge.source, act),
    ` ${shapeText(edge.source.shape)}`,
  );
  if (!values.flows(edge)) return html("li", {}, name, html("p", { class: "muted" }, "no gradient goes here"));
  const broadcasting = summed(edge, values);
  return html(
    "li",
    {},
    name,
    here?.text ? html("p", { class: "local" }, here.text) : null,
    here?.rule ? html("p", { class: "product" }, here.rule.formula) : null,
    here?.rule ? html("p", { class: "muted" }, meanings(edge, here, values)) : null,
    html("p", { class: "product" }, product(edge, here, values)),
    broadcasting ? html("p", { class: "muted" }, broadcasting) : null,
    here?.value && here.kind === "matrix" ? numberTable(here.value) : null,
  );
}

function users(node, values, act) {
  if (!node.users.length) return null;
  const seen = [...new Set(node.users.map((edge) => edge.target))];
  return section(
    "Used by",
    html(
      "p",
      {},
      seen.slice(0, 40).flatMap((user, i) => [i ? ", " : "", link(user, act)]),
    ),
  );
}

function leaf(node, values) {
  const found = values.leaf(node);
  if (!found) return null;
  const before = found.before ? gradientLabel(found.before) : "nothing";
  return section(
    ".grad",
    rows([
      ["before", before],
      ["added", gradientLabel(values.upstream(node))],
      ["after", gradientLabel(found.after)],
    ]),
  );
}

function memory(node) {
  if (!node.saved_bytes && !node.saved?.length) return null;
  const names = node.saved?.length ? `: ${node.saved.join(", ")}` : "";
  return section("Saved for the backward pass", html("p", {}, `${bytes(node.saved_bytes ?? 0)}${names}`));
}

function section(title, ...children) {
  return html("section", {}, html("h3", {}, title), children);
}

function rows(pairs) {
  return html(
    "table",
    { class: "rows" },
    pairs.map((cells) =>
      html(
        "tr",
        {},
        cells.map((cell, i) => html(i ? "td" : "th", i ? {} : { scope: "row" }, cell ?? "")),
      ),
    ),
  );
}

function link(node, act) {
  return button(spoken(node), `Show ${spoken(node)}`, () => act.select(node), { class: "link" });
}
