/** The sites as a table: the whole alternative to the wall. */

import { button, glyph, h, name, num, span, time } from "../elements.js";
import { ORDER, STATES } from "../sites.js";
import { siteAddress } from "../routes.js";

const PER_PAGE = 50;

/** @param {Site} site */
const took = site => (site.startedAt == null ? -1 : (site.endedAt ?? Date.now() / 1000) - site.startedAt);

/** Values by which each column is sorted. @type {Record<string, (site: Site) => string | number>} */
export const SORTS = {
  name: site => site.name,
  state: site => ORDER.indexOf(site.state),
  stage: site => site.i,
  group: site => site.group,
  since: site => site.endedAt ?? site.since ?? 0,
  took,
};

/** Return the sites that the filter leaves, as they are sorted. @param {Page} page */
export function sorted(page) {
  const [key, direction] = page.own("overview").sort || ["stage", "asc"], value = SORTS[key], sign = direction === "desc" ? -1 : 1;
  // Each value once, for a sort compares it a dozen times.
  const valued = page.matches.map(site => /** @type {[string | number, Site]} */ ([value(site), site]));
  valued.sort(([x, a], [y, b]) => (x < y ? -1 : x > y ? 1 : a.i - b.i) * sign);
  return valued.map(([, site]) => site);
}

/** Return the table, a page of it. @param {Page} page */
export function table(page) {
  const own = page.own("overview"), rows = sorted(page), pages = Math.max(1, Math.ceil(rows.length / PER_PAGE));
  const at = Math.min(own.page || 0, pages - 1), [key, direction] = own.sort || ["stage", "asc"];
  /**
   * @param {string} column
   * @param {string} label
   * @param {string} [cls]
   */
  const heading = (column, label, cls) => h("th", {
    scope: "col", class: cls, "aria-sort": key === column ? (direction === "desc" ? "descending" : "ascending") : null,
  }, h("button", { type: "button", class: "link", "data-act": "sort", "data-sort": column }, label, key === column ? (direction === "desc" ? " ↓" : " ↑") : ""));
  const from = at * PER_PAGE, to = Math.min(rows.length, from + PER_PAGE);
  return h("div", { "data-key": "table" },
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of sites" },
      h("table", { class: "stack" }, h("caption", { class: "sr" }, `Sites, ${rows.length}`),
        h("thead", null, h("tr", null, heading("name", "Site"), heading("state", "State"), heading("stage", "Stage", "num"), heading("group", "Group"),
          heading("since", "Since", "num"), heading("took", "Took", "num"), h("th", { scope: "col" }, "Where and why"))),
        h("tbody", null, rows.slice(from, to).map(row)))),
    h("div", { class: "row pad" }, h("span", { class: "dim" }, rows.length ? `${num(from + 1)} to ${num(to)} of ${num(rows.length)}` : "None"), h("span", { class: "grow" }),
      button("Back", "toPage", { kind: "small", data: { to: at - 1 }, why: at ? null : "this is the first page" }),
      button("On", "toPage", { kind: "small", data: { to: at + 1 }, why: at < pages - 1 ? null : "this is the last page" })));
}

/** @param {Site} site */
function row(site) {
  const held = site.step.held;
  const where = site.details || held?.reason || (site.worker ? `${site.worker}${site.attempt > 1 ? `, attempt ${site.attempt}` : ""}` : "");
  return h("tr", null,
    h("td", null, h("a", { href: siteAddress(site.name) }, name(site.name))),
    h("td", null, h("span", { class: `st t-${site.state}` }, glyph(site.state), STATES[site.state].word)),
    h("td", { class: "num", "data-l": "stage" }, site.stage),
    h("td", { "data-l": "group" }, h("bdi", null, site.group || "–")),
    h("td", { class: "num", "data-l": "since" }, site.startedAt == null ? "–" : time(site.endedAt ?? site.since)),
    h("td", { class: "num", "data-l": "took" }, site.startedAt == null ? "–" : span(took(site))),
    h("td", { class: "text" }, h("bdi", null, where)));
}
