/** The pane of the history: strategies with how they ended, one of them, and the audit for administrators. */

import { ApiError, get } from "../api.js";
import { button, columns, glyph, h, icon, moment, name, num, plural, span, time } from "../elements.js";
import { retryEnded } from "../commands.js";
import { STATES, isOver, phaseWord, stateOf } from "../sites.js";

const PAGE = 50;
const SINCE = [["1", "Last 24 hours"], ["7", "Last 7 days"], ["all", "All that is kept"]];
// Types of the commands that the audit has.
const COMMANDS = Object.entries({
  strategy: "create apply abort delete pause resume cancel approve deny preview update retry", step: "hold first cancel retry",
  subcloud: "add update delete prestage staged unstage", group: "create update delete", webhook: "create update delete ping redeliver",
}).flatMap(([what, verbs]) => verbs.split(" ").map(verb => `${what}.${verb}`));
// What narrows the audit, in the address too, and what it is when nobody has chosen.
/** @type {Choices} */
const CHOICES = { caller: "", type: "", since: "1" };
const DAY_MS = 86_400_000;
/** @type {Record<string, [sign: string, word: string]>} */
const OUTCOMES = {
  initial: ["waiting", "not applied"], applying: ["images", "applying"], complete: ["complete", "complete"], failed: ["failed", "with failures"],
  aborted: ["aborted", "aborted"], aborting: ["aborted", "aborting"], "abort requested": ["aborted", "abort requested"],
};
const PARTS = [["complete", "complete"], ["skipped", "skipped"], ["failed", "failed"], ["aborted", "aborted"], ["waiting", "open"]];

/** Return the elements of the pane. @param {Page} page */
export function render(page) {
  if (page.part === "audit") return audit(page);
  return page.part ? one(page) : list(page);
}

/**
 * @param {Page} page
 * @param {Kid} note
 */
function headline(page, note) {
  /**
   * @param {string} part
   * @param {string} word
   */
  const way = (part, word) => h("a", { class: "btn", href: `#/history${part && `/${part}`}`, "aria-current": page.part === part ? "page" : null }, word);
  return h("div", { class: "headline problems" }, h("h1", null, "History"),
    h("div", { class: "seg s", role: "group", "aria-label": "What is shown" }, way("", "Strategies"), way("audit", "Audit")), h("span", { class: "facts" }, note));
}

/** @param {Own["history"]} own */
const fault = own => (own.error ? h("p", { class: "err", role: "alert", dir: "auto" }, own.error) : null);
/**
 * @param {Own["history"]} own
 * @param {unknown[] | null | undefined} rows
 */
const more = (own, rows) => (own.next && rows ? h("p", { class: "pad" }, button("Show more", "more", { kind: "small" })) : null);

// -- strategies ------------------------------------------------------------------------

/**
 * Return how many sites ended in each way, and how many have not ended.
 * @param {{progress: Api.Progress}} strategy
 * @returns {Record<string, number>}
 */
function endsOf({ progress }) {
  const ends = { complete: progress.complete, skipped: progress.skipped, failed: progress.failed, aborted: progress.aborted + progress.cancelled };
  const ended = Object.values(ends).reduce((all, count) => all + count, 0);
  return { ...ends, waiting: Math.max(0, progress.total - ended) };
}

/** @param {{progress: Api.Progress}} strategy */
function bar(strategy) {
  const ends = endsOf(strategy), shown = PARTS.filter(([key]) => ends[key]);
  const text = shown.map(([key, word]) => `${num(ends[key])} ${word}`).join(" · ") || "no sites";
  return [h("div", { class: "barline thin ends", "aria-hidden": "true" }, shown.map(([key]) => h("i", { class: `g-${key}`, style: { flex: String(ends[key]) } }))), h("span", { class: "small" }, text)];
}

/** @param {{state: string}} strategy */
function outcome(strategy) {
  const [sign, word] = OUTCOMES[strategy.state] || ["waiting", strategy.state];
  return h("span", { class: "st" }, glyph(sign), word);
}

/** @param {number[]} ids */
const links = ids => ids.map((id, i) => [i ? ", " : "", h("a", { href: `#/history/${id}` }, id)]);

/** @param {Api.HistoricStrategy} strategy */
function relations(strategy) {
  const { "retry-of": source, "retried-by": later = [] } = strategy;
  return [source ? h("span", { class: "dim" }, "retry of ", links([source])) : null, source && later.length ? h("span", { class: "dim" }, " · ") : null,
    later.length ? h("span", { class: "dim" }, "retried as ", links(later)) : null];
}

/**
 * Return the button of a retry; nothing where there is nothing to try again.
 * @param {Page} page
 * @param {Api.HistoricStrategy} strategy
 */
function retryOf(page, strategy) {
  const { failed, aborted, waiting } = endsOf(strategy), count = failed + aborted + waiting, active = page.state.strategy;
  if (!isOver(strategy) || !count || strategy["retried-by"]?.length) return null;
  const isBusy = active && active.id !== strategy.id && !isOver(active);
  const why = page.refusal || page.roleRefusal() || (isBusy ? `strategy ${active.id} is active` : null);
  return button(`Retry ${num(count)}…`, "retryPast", { kind: "small", icon: "retry", data: { id: strategy.id }, why, "aria-label": `Retry ${plural(count, "site")} of strategy ${strategy.id}` });
}

/** @param {Page} page */
function list(page) {
  const own = page.own("history"), rows = own.strategies;
  const body = !rows ? h("p", { class: "sub" }, own.error ? "" : "Loading…")
    : !rows.length ? h("div", { class: "empty" }, h("h2", null, "Nothing yet"), h("p", { class: "sub" }, "Strategies come here as soon as they are made."), h("a", { class: "btn", href: "#/plan" }, "Plan one"))
      : h("div", { class: "scroll" }, h("table", { class: "stack" },
        columns([["No.", "num"], ["Outcome"], ["Release"], ["Sites"], ["By"], ["Started", "num"], ["Took", "num"], ["How the sites ended"], [""]]),
        h("tbody", null, rows.map(row => listed(page, row)))));
  return h("div", { "data-key": "history" }, headline(page, "Deleted strategies stay here for as long as the service keeps them"), fault(own), body, more(own, rows));
}

/**
 * @param {Page} page
 * @param {Api.HistoricStrategy} strategy
 */
function listed(page, strategy) {
  return h("tr", { "data-key": String(strategy.id) },
    h("td", { class: "num" }, h("a", { href: `#/history/${strategy.id}` }, strategy.id)), h("td", null, outcome(strategy)),
    h("td", { class: "mono", "data-l": "release" }, strategy["extra-args"]["prestage-software-version"]),
    h("td", { class: "sub" }, plural(strategy.progress.total, "site"), " ", relations(strategy)), h("td", { "data-l": "by" }, h("bdi", null, strategy["requested-by"])),
    h("td", { class: "num" }, time(moment(strategy["started-at"]))), h("td", { class: "num", "data-l": "took" }, strategy["duration-s"] == null ? "–" : span(strategy["duration-s"], true)),
    h("td", { class: "text" }, bar(strategy)), h("td", { class: "num" }, retryOf(page, strategy)));
}

// -- one strategy ------------------------------------------------------------------------

/** @param {Page} page */
function one(page) {
  const own = page.own("history"), found = own.past?.id === Number(page.part) ? own.past : null;
  if (!found) return h("div", { "data-key": `past${page.part}` }, headline(page, `Strategy ${page.part}`), fault(own), own.error ? h("a", { class: "btn", href: "#/history" }, "All strategies") : h("p", { class: "sub" }, "Loading…"));
  /**
   * @param {string} label
   * @param {...Kid} value
   */
  const fact = (label, ...value) => h("div", null, h("dt", null, label), h("dd", null, value));
  const isActive = page.state.strategy?.id === found.id;
  return h("div", { "data-key": `past${found.id}` },
    headline(page, [h("a", { href: "#/history" }, "All strategies"), found["started-at"] ? [" · ", h("a", { href: `#/timeline/${found.id}` }, "timeline")] : null, isActive ? [" · ", h("a", { href: "#/overview" }, "on the overview")] : null]),
    h("div", { class: "headline problems" }, h("h2", null, `Strategy ${found.id}`), outcome(found), relations(found), h("div", { class: "commands" }, retryOf(page, found))),
    fault(own),
    h("dl", { class: "factline" }, fact("Release", h("span", { class: "mono" }, found["extra-args"]["prestage-software-version"])), fact("By", h("bdi", null, found["requested-by"])),
      fact("Made", time(moment(found["created-at"]))), fact("Started", time(moment(found["started-at"]))), fact("Ended", time(moment(found["finished-at"]))),
      fact("Took", found["duration-s"] == null ? "–" : span(found["duration-s"])), fact("Left out", plural(found["excluded-subclouds"].length, "site"))),
    bar(found), causes(own), steps(page, own), more(own, own.steps));
}

/** @param {Own["history"]} own */
function causes({ problems = [] }) {
  if (!problems.length) return null;
  return h("section", { class: "block", "aria-labelledby": "causes" }, h("h2", { id: "causes" }, "Problems"), h("div", { class: "scroll" }, h("table", { class: "stack" },
    columns([["Sites", "num"], ["Cause"], ["Phase"], ["Text"], ["Advice"]]),
    h("tbody", null, problems.map(cause => h("tr", null, h("td", { class: "num bad" }, num(cause.count)), h("td", null, h("b", null, cause.class)), h("td", null, phaseWord(cause.phase)),
      h("td", { class: "text", dir: "auto" }, cause.text), h("td", { class: "text sub" }, cause.advice)))))));
}

/**
 * @param {Page} page
 * @param {Own["history"]} own
 */
function steps(page, { steps: rows }) {
  if (!rows) return h("p", { class: "sub" }, "Loading…");
  return h("section", { class: "block", "aria-labelledby": "past-sites" }, h("h2", { id: "past-sites" }, "Sites"), h("div", { class: "scroll" }, h("table", { class: "stack" },
    columns([["Site"], ["Outcome"], ["Stage", "num"], ["Started", "num"], ["Took", "num"], ["Reason"]]),
    h("tbody", null, rows.map(step => {
      const state = stateOf(step), from = moment(step["started-at"]), to = moment(step["finished-at"]);
      return h("tr", null, h("td", null, name(step.cloud)), h("td", null, h("span", { class: `st t-${state}` }, glyph(state), STATES[state].word)), h("td", { class: "num", "data-l": "stage" }, num(step.stage)),
        h("td", { class: "num" }, time(from)), h("td", { class: "num", "data-l": "took" }, from == null || to == null ? "–" : span(to - from)), h("td", { class: "text", dir: "auto" }, step.details || ""));
    })))));
}

// -- audit -------------------------------------------------------------------------------

/** @param {Page} page */
function audit(page) {
  const own = page.own("history"), mayRead = page.state.me?.roles.includes("admin");
  const note = "Every command that was answered, for administrators";
  if (page.state.me && !mayRead) return h("div", { "data-key": "noaudit" }, headline(page, note), h("div", { class: "empty" }, h("h2", null, "For administrators"), h("p", { class: "sub" }, "Your role may not read the audit. The history of strategies tells who asked for each.")));
  const { caller, type, since } = { ...CHOICES, ...own.choices };
  return h("div", { "data-key": "audit" }, headline(page, note),
    h("div", { class: "tools" }, h("div", { class: "find" }, icon("search"), h("input", { type: "search", id: "find", "data-field": "caller", placeholder: "Caller", "aria-label": "Find by caller", value: caller, autocomplete: "off", spellcheck: "false" })),
      h("select", { "data-field": "type", "aria-label": "Command" }, h("option", { value: "" }, "All commands"), COMMANDS.map(one => h("option", { value: one, selected: type === one }, one))),
      h("select", { "data-field": "since", "aria-label": "Since" }, SINCE.map(([value, word]) => h("option", { value, selected: since === value }, word)))),
    fault(own),
    own.entries?.length ? h("div", { class: "scroll" }, h("table", { class: "stack" }, columns([["At"], ["Caller"], ["From"], ["Command"], ["Subject"], ["Answer", "num"], ["What"]]), h("tbody", null, own.entries.map(entry => h("tr", null,
      h("td", null, time(moment(entry.at), true)), h("td", null, h("b", null, h("bdi", null, entry.caller))), h("td", { class: "mono" }, entry.origin || "–"), h("td", { class: "mono" }, entry.type), h("td", null, entry.subject ? name(entry.subject) : h("span", { class: "dim" }, "–")),
      h("td", { class: `num${entry.status >= 400 ? " bad" : ""}` }, entry.status), h("td", { class: "text", dir: "auto" }, entry.detail))))))
      : own.error ? null : h("p", { class: "sub" }, own.entries ? "No entry." : "Loading…"), more(own, own.entries));
}

// -- what is read ------------------------------------------------------------------------

/**
 * Where the rows of the part that is shown come from: path, parameters, key of the answer, and where they are kept.
 * @param {Page} page
 */
function sourceOf(page) {
  const own = page.own("history"), limit = PAGE;
  if (page.part === "audit") {
    const { caller, type, since: days } = { ...CHOICES, ...own.choices };
    const since = days === "all" ? null : new Date(Date.now() - DAY_MS * Number(days)).toISOString();
    return { path: "/audit", query: { limit, since, caller, type }, key: "audit", kept: "entries" };
  }
  if (page.part) return { path: `/strategies/${encodeURIComponent(page.part)}/steps`, query: { limit }, key: "steps", kept: "steps" };
  return { path: "/strategies", query: { limit }, key: "strategies", kept: "strategies" };
}

/** Read what the address names, from its beginning. @param {Page} page */
export function enter(page) {
  const own = page.own("history");
  own.next = null;
  if (page.part && page.part !== "audit" && String(own.past?.id) !== page.part) Object.assign(own, { past: null, steps: null, problems: [] });
  if (page.part === "audit") own.choices = choicesOf(page.query);
  own.error = "";
  void load(page);
}

/**
 * Return what an address says of the audit; a number of days that is not offered is none.
 * @param {URLSearchParams} query
 */
function choicesOf(query) {
  const chosen = Object.fromEntries(Object.entries(CHOICES).map(([key, usual]) => [key, query.get(key) ?? usual]));
  return { ...chosen, since: SINCE.some(([value]) => value === chosen.since) ? chosen.since : CHOICES.since };
}

/**
 * Return a page of a list, whichever it is.
 * @param {string} path
 * @param {Query} query
 * @returns {Promise<{[key: string]: any}>}
 */
const rowsOf = (path, query) => get(path, query);

/** @param {Page} page */
async function load(page) {
  const own = page.own("history"), { part } = page, number = (own.number = (own.number || 0) + 1), source = sourceOf(page);
  own.seen = seen(page);
  if (!page.state.me || (part === "audit" && !page.state.me.roles.includes("admin"))) return;
  try {
    const past = part && part !== "audit" ? /** @type {const} */ (`/strategies/${encodeURIComponent(part)}`) : null;
    const [found, strategy, problems] = await Promise.all([rowsOf(source.path, source.query), past && get(past), past && get(`${past}/problems`)]);
    if (number !== own.number) return;
    Object.assign(own, { [source.kept]: found[source.key], next: found.next, error: "" });
    if (problems) Object.assign(own, { past: strategy, problems: problems.problems });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (number !== own.number) return;
    own.error = error.message;
  }
  if (page.pane === "history") page.render();
}

/** @param {Page} page */
async function loadMore(page) {
  /** @type {Record<string, any>} */
  const own = page.own("history");
  const { kept, key } = sourceOf(page), { number } = own, next = new URL(own.next, location.origin);
  const found = await rowsOf(next.pathname.replace(/^\/v1\.0/, ""), Object.fromEntries(next.searchParams));
  if (number !== own.number) return;
  own[kept] = [...own[kept], ...found[key]];
  own.next = found.next;
  page.render();
}

/** @param {Page} page */
const seen = ({ state }) => `${state.me?.name} ${state.strategy?.id} ${state.strategy?.state}`;

/** Read again when somebody logged in, or the strategy of now became another one or ended. @param {Page} page */
export function rendered(page) {
  if (page.own("history").seen !== seen(page)) void load(page);
}

/**
 * Follow the filter of the audit, and keep it in the address.
 * @param {Page} page
 * @param {HTMLInputElement} input
 */
export function changed(page, input) {
  const own = page.own("history");
  own.choices = { ...CHOICES, ...own.choices, [input.dataset.field || ""]: input.value.trim() };
  const query = new URLSearchParams(Object.entries(own.choices).filter(([key, value]) => value !== CHOICES[key])).toString();
  window.history.replaceState(null, "", `#/history/audit${query && `?${query}`}`);
  clearTimeout(own.timer);
  own.timer = setTimeout(() => void load(page), 350);
}

/**
 * @param {Page} page
 * @param {{id?: string}} data
 */
function retryPast(page, { id }) {
  const own = page.own("history"), strategy = own.strategies?.find(row => row.id === Number(id)) || own.past;
  if (!id || !strategy) return;
  const { failed, aborted, waiting } = endsOf(strategy), title = `Retry ${plural(failed + aborted + waiting, "site")} of strategy ${id}`;
  retryEnded(page, { id, title, what: null, which: "what failed, was aborted or never started", then: () => (location.hash = "#/overview") });
}

/** @type {Acts} */
export const acts = { more: loadMore, retryPast };
