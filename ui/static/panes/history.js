/** The pane History. */

import { h } from "../elements.js";

/** Return the elements of the pane. */
export function render() {
  return h("div", { "data-key": "history" }, h("div", { class: "headline" }, h("h1", null, "History")));
}
