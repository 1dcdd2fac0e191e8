// The page: reads the record that lies in it, and opens the viewer.

import { App } from "./app.js";
import { html, replace } from "./dom.js";
import { prepare } from "./layout.js";
import { readModel } from "./model.js";

const host = document.getElementById("app");

try {
  const { record, programs } = JSON.parse(document.getElementById("record").textContent);
  await prepare();
  const app = new App(host, readModel(record, programs), document);
  requestAnimationFrame(() => {
    host.dataset.ready = String(Math.round(performance.now())); // since the page was asked for
  });
  window.addEventListener("beforeprint", () => app.viewport.fit());
  globalThis.backlitViewer = app;
} catch (error) {
  replace(host, html("p", { class: "failure" }, `This record cannot be shown: ${error.message}`));
  throw error;
}
