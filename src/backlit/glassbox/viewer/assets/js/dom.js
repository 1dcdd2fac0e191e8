// Making elements. Text only ever enters as text nodes, so that no label, name or value can become markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...asNodes(children));
  return made;
}

/** Children in any nesting; null, undefined and false stand for none. */
function asNodes(children) {
  const present = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  return present.map(asNode);
}

function asNode(child) {
  return child instanceof Node ? child : document.createTextNode(String(child));
}

/** An HTML element; attributes that start with "on" are listeners, null and false ones are left out. */
export function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element, in the same way. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Put children in the place of what an element holds. */
export function replace(element, ...children) {
  element.replaceChildren(...asNodes(children));
}

/** A button with a label for screen readers, which is also its tooltip. */
export function button(text, label, onclick, attributes = {}) {
  return html("button", { type: "button", "aria-label": label, title: label, onclick, ...attributes }, text);
}
