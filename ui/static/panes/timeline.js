/** The pane Timeline. */

import { h } from "../elements.js";

/** Return the elements of the pane. */
export function render() {
  return h("div", { "data-key": "timeline" }, h("div", { class: "headline" }, h("h1", null, "Timeline")));
}
