// Finding nodes by what the reader types.

import { html, replace } from "./dom.js";
import { shortName, spoken } from "./model.js";
import { shapeText } from "./numbers.js";

const MOST = 12;

/** The nodes that hold every word of a query somewhere; names that start with it come first. */
export function find(model, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return [];
  const found = model.nodes.filter((node) => words.every((word) => haystack(node).includes(word)));
  const rank = (node) => (startsWith(node, words[0]) ? 0 : 1);
  return found.sort((a, b) => rank(a) - rank(b) || a.order - b.order);
}

function startsWith(node, word) {
  return [node.name, shortName(node), node.op].some((text) => text?.toLowerCase().startsWith(word));
}

function haystack(node) {
  node.haystack ??= [node.name, node.op, node.module, node.expression, node.source?.text, shapeText(node.shape)]
    .filter(Boolean)
    .join(" ")
    .toLowerCase();
  return node.haystack;
}

/** A search field with a list of what was found; `choose(node)` is called for the one that is picked. */
export class Search {
  constructor(model, choose) {
    Object.assign(this, { model, choose, found: [], at: 0 });
    this.list = html("ul", { class: "found", role: "listbox", id: "backlit-found", "aria-label": "Found nodes" });
    this.field = html("input", {
      type: "search",
      placeholder: "Search  ( / )",
      "aria-label": "Search nodes",
      "aria-controls": "backlit-found",
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => this.update(),
      onkeydown: (event) => this.key(event),
      onblur: () => setTimeout(() => this.close(), 150),
    });
    this.element = html("div", { class: "search" }, this.field, this.list);
  }

  update() {
    this.found = find(this.model, this.field.value);
    this.at = 0;
    this.show();
  }

  show() {
    const entries = this.found.slice(0, MOST).map((node, i) => this.entry(node, i));
    const rest = this.found.length - entries.length;
    if (rest > 0) entries.push(html("li", { class: "muted" }, `and ${rest} more`));
    if (!entries.length && this.field.value.trim()) entries.push(html("li", { class: "muted" }, "nothing found"));
    replace(this.list, entries);
  }

  entry(node, i) {
    const what = node.kind === "operation" ? node.op : node.kind;
    const text = `${what} ${shapeText(node.shape)}${node.module ? ` · ${node.module}` : ""}`;
    const attributes = { role: "option", "aria-selected": String(i === this.at), onpointerdown: () => this.pick(node) };
    return html("li", attributes, html("strong", {}, spoken(node)), html("span", { class: "muted" }, ` ${text}`));
  }

  key(event) {
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in moves) {
      this.at = Math.max(0, Math.min(this.at + moves[event.key], this.found.length - 1, MOST - 1));
      this.show();
    } else if (event.key === "Enter" && this.found.length) this.pick(this.found[this.at]);
    else if (event.key === "Escape") this.field.blur();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  pick(node) {
    this.close();
    this.field.blur();
    this.choose(node);
  }

  close() {
    this.found = [];
    replace(this.list);
  }
}
