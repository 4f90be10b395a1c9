/** Keys of the page, and the list of them. */

import { h } from "./elements.js";
import { TABS } from "./routes.js";

const LIST = [
  ["/", "find sites; in a site: search the log"],
  ["1 … 6", "panes"],
  ["← ↑ ↓ →", "move in the wall"],
  ["Home, End", "begin and end of the row; with Ctrl: first and last site"],
  ["PgUp, PgDn", "a stage up or down"],
  ["f, F", "next, former failed site"],
  ["r", "next site at work"],
  ["Enter", "open the site"],
  ["[ and ]", "site before, next site"],
  ["e", "jump to the failure in the log"],
  ["Escape", "close"],
  ["?", "this list"],
];

/** Return the list of keys for a dialog. */
export function keyList() {
  return h("dl", { class: "keylist" }, LIST.map(([key, what]) => [h("dt", null, h("kbd", null, key)), h("dd", null, what)]));
}

/**
 * Listen to the keys of the page.
 * @param {{isSiteOpen: () => boolean, act: (name: string) => void, paneKey: (event: KeyboardEvent) => boolean}} page
 *   paneKey: whether the pane that is shown took the key
 */
export function listen(page) {
  document.addEventListener("keydown", event => {
    if (document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && page.isSiteOpen()) return page.act("close");
    if (event.target instanceof Element && /INPUT|SELECT|TEXTAREA/.test(event.target.nodeName)) return;
    if (page.paneKey(event)) return event.preventDefault();
    const tab = TABS["123456".indexOf(event.key)];
    if (tab) location.hash = `#/${tab[0]}`;
    else if (event.key === "/") {
      const field = document.getElementById(page.isSiteOpen() ? "logfind" : "find");
      if (!field) return;
      event.preventDefault();
      field.focus();
    } else if (event.key === "?") page.act("keys");
    else if (page.isSiteOpen()) {
      const act = { "[": "before", "]": "after", e: "jumpfail" }[event.key];
      if (act) page.act(act);
    }
  });
}
