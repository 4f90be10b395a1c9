/** The address of the page, `#/pane/part?filter`, as values and back. */

/** Panes in the order of their keys `1` to `6`, with the words of their tabs. */
export const TABS = [
  ["overview", "Overview"],
  ["problems", "Problems"],
  ["timeline", "Timeline"],
  ["plan", "Plan"],
  ["history", "History"],
  ["health", "Health"],
];

/**
 * Return what an address means; an unknown pane is the overview.
 * @param {string} hash such as `#/sites/edge-7`
 * @returns {{pane: string, part: string, query: URLSearchParams}} part: what follows the pane, decoded
 */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [pane = "", ...rest] = path.split("/");
  const known = [...TABS.map(([id]) => id), "sites", "login"];
  return { pane: known.includes(pane) ? pane : "overview", part: decoded(rest.join("/")), query: new URLSearchParams(query) };
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Return the address of a site's sheet. @param {string} name */
export const siteAddress = name => `#/sites/${encodeURIComponent(name)}`;

/**
 * The filter of wall and table.
 * @typedef {{q: string, group: string, states: Set<string>, problem: string, view: string}} Filter
 */

/** Return the filter that an address has. @param {URLSearchParams} query */
export function filterOf(query) {
  return {
    q: query.get("q") || "",
    group: query.get("group") || "",
    states: new Set((query.get("state") || "").split(",").filter(Boolean)),
    problem: query.get("problem") || "",
    view: query.get("view") === "table" ? "table" : "wall",
  };
}

/** Return the address of the overview with a filter. @param {Filter} filter */
export function overviewAddress(filter) {
  const query = new URLSearchParams();
  if (filter.q) query.set("q", filter.q);
  if (filter.group) query.set("group", filter.group);
  if (filter.states.size) query.set("state", [...filter.states].join(","));
  if (filter.problem) query.set("problem", filter.problem);
  if (filter.view === "table") query.set("view", "table");
  const text = query.toString();
  return `#/overview${text ? `?${text}` : ""}`;
}
