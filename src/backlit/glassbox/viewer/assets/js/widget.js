// The viewer in a notebook: inside a shadow root, so that its style and the notebook's leave each other alone.
// STYLE, the style sheet in base64, stands before this module.

import { App } from "./app.js";
import { html, replace } from "./dom.js";
import { prepare } from "./layout.js";
import { readModel } from "./model.js";

async function render({ model, el }) {
  const host = html("div", {});
  host.style.height = `${model.get("height")}px`;
  const shadow = host.attachShadow({ mode: "open" });
  const style = html("style", {}, new TextDecoder().decode(Uint8Array.from(atob(STYLE), (c) => c.charCodeAt(0))));
  const inner = html("div", { id: "app" });
  shadow.append(style, inner);
  replace(el, host);
  const { record, programs } = JSON.parse(model.get("record"));
  await prepare();
  const app = new App(inner, readModel(record, programs), inner);
  host.dataset.ready = "true";
  host.dataset.nodes = String(app.model.nodes.length);
}

export default { render };
