/** The pane of the problems: each cause once, with advice, retry, where it happened, and its sites. */

import { button, glyph, h, hm, icon, moment, name, num, plural, s, time } from "../elements.js";
import { STATES, groupsOf } from "../sites.js";
import { siteAddress } from "../routes.js";
import { copyText, toast } from "../dialogs.js";

const BINS = 48;
const MOST_NAMES = 18;

/** Return the elements of the pane. @param {Page} page */
export function render(page) {
  const { strategy, sites, problems, otherProblems } = page.state;
  if (!strategy || !problems.length) return none(page);
  const ended = sites.filter(site => STATES[site.state].kind === "ended").length, failed = strategy.progress.failed;
  return h("div", { "data-key": "problems" },
    h("div", { class: "headline problems" }, h("h1", null, "Problems"),
      h("span", { class: "facts" }, `${plural(failed, "site")} failed for ${plural(problems.length, "cause")}; ${num(ended)} of ${num(sites.length)} have ended`),
      h("div", { class: "commands" }, button(`Retry all ${num(failed)}…`, "retry", { icon: "retry", why: page.refusal || page.roleRefusal() }))),
    h("div", { class: "ruled" }, problems.map((problem, i) => one(page, problem, i))),
    otherProblems ? h("p", { class: "dim pad" }, `${plural(otherProblems, "site")} with rarer causes are not listed.`) : null,
    h("p", { class: "dim pad" }, "Retried sites leave this list when they start. Names, addresses, numbers and times are left out when causes are compared."));
}

/** @param {Page} page */
function none({ state }) {
  const { strategy, sites } = state, ended = sites.filter(site => STATES[site.state].kind === "ended").length;
  const text = strategy ? `${plural(ended, "site")} of ${num(sites.length)} have ended, and no one failed. Failures come here at once, those with the same cause together.`
    : "There is no strategy. Failures come here, those with the same cause together.";
  return h("div", { "data-key": "noproblems" }, h("div", { class: "headline" }, h("h1", null, "Problems")),
    h("div", { class: "empty" }, glyph("complete", 32), h("h2", null, "No problems"), h("p", { class: "sub" }, text), h("a", { class: "btn", href: "#/overview" }, "Back to the overview")));
}

/**
 * @param {State} state
 * @param {Api.Problem} problem
 */
const sitesOf = (state, problem) => state.sites.filter(site => site.problem === problem.id);

/**
 * @param {Page} page
 * @param {Api.Problem} problem
 * @param {number} i
 */
function one(page, problem, i) {
  const { state } = page, mine = sitesOf(state, problem), first = moment(problem.first), last = moment(problem.last);
  return h("details", { class: "pbig", "data-key": problem.id, open: i === 0 },
    h("summary", null, h("span", { class: "arrow" }, icon("chevron")), h("span", { class: "n", "aria-label": plural(problem.count, "site") }, num(problem.count)),
      h("span", null, h("span", { class: "row wrap" }, h("b", null, problem.class), h("span", { class: "dim", dir: "auto" }, [problem.phase, problem.task].filter(Boolean).join(" · "))),
        h("span", { class: "txt sub", dir: "auto" }, problem.text)),
      h("span", { class: "x" }, course(state, mine)),
      h("span", { class: "x num sub" }, h("span", { class: "dim" }, "first "), time(first), h("br"), h("span", { class: "dim" }, "last "), time(last)),
      h("span", { class: "x num" }, h("span", { class: "chip mono" }, problem.id))),
    h("div", { class: "more" },
      h("div", { class: "stack12" }, h("p", { class: "advice" }, icon("right"), h("span", null, problem.advice)), commandsOf(page, problem), where(state, mine)),
      h("div", { class: "stack12" }, newest(problem), names(problem, mine))));
}

/**
 * @param {Page} page
 * @param {Api.Problem} problem
 */
function commandsOf(page, problem) {
  const label = `Retry ${problem.count > 1 ? `these ${num(problem.count)}` : "it"}…`;
  return h("div", { class: "row wrap" },
    button(label, "retry", { icon: "retry", kind: "primary", data: { problem: problem.id }, why: page.refusal || page.roleRefusal() }),
    h("a", { class: "btn", href: `#/overview?problem=${encodeURIComponent(problem.id)}` }, icon("grid"), "Show on the wall"),
    button("Copy names", "copyNames", { icon: "copy", data: { problem: problem.id } }));
}

/**
 * Draw how many sites ended so over the time of the strategy.
 * @param {State} state
 * @param {Site[]} mine
 */
function course(state, mine) {
  const ends = mine.map(site => site.endedAt).filter(at => at != null);
  const from = moment(state.active.progress["started-at"]) ?? Math.min(...ends), to = Math.max(Date.now() / 1000, from + 1);
  if (!ends.length) return null;
  const bins = new Array(BINS).fill(0);
  for (const at of ends) bins[Math.max(0, Math.min(BINS - 1, Math.floor(((at - from) / (to - from)) * BINS)))]++;
  const most = Math.max(...bins), label = `over time, from ${hm(Math.min(...ends))} to ${hm(Math.max(...ends))}`;
  return s("svg", { class: "spark", viewBox: `0 0 ${BINS * 3} 28`, preserveAspectRatio: "none", role: "img", "aria-label": label }, s("path", { d: `M0 27.5H${BINS * 3}` }),
    bins.map((count, i) => (count ? s("rect", { x: i * 3, width: 2, y: 27 - (25 * count) / most, height: (25 * count) / most }) : null)));
}

/**
 * @param {State} state
 * @param {Site[]} mine
 */
function where(state, mine) {
  /** @param {string} group */
  const count = group => mine.filter(site => site.group === group).length;
  const groups = groupsOf(mine).sort((a, b) => count(b) - count(a));
  if (!groups.length) return null;
  const lines = groups.map(group => {
    const all = state.sites.filter(site => site.group === group && STATES[site.state].kind === "ended").length, here = count(group);
    return [h("bdi", null, group), h("span", { class: "t" }, h("i", { style: { width: `${(here / mine.length) * 100}%` } })),
      h("span", { class: "num sub", title: `${here} of ${all} sites of the group that have ended` }, `${num(here)} of ${num(all)}`)];
  });
  return h("div", null, h("h2", null, "Where"), h("div", { class: "gbar" }, lines));
}

/** @param {Api.Problem} problem */
function newest({ sample }) {
  return h("div", null, h("h2", null, "Newest: ", h("a", { href: siteAddress(sample.cloud) }, name(sample.cloud))), h("pre", { class: "sample", dir: "auto", tabindex: "0" }, sample.details));
}

/**
 * @param {Api.Problem} problem
 * @param {Site[]} mine
 */
function names(problem, mine) {
  const all = mine.length ? mine.map(site => site.name) : problem.clouds;
  const more = problem.count - Math.min(all.length, MOST_NAMES);
  return h("div", null, h("h2", null, "Sites"), h("div", { class: "names" }, all.slice(0, MOST_NAMES).map(one => h("a", { href: siteAddress(one) }, name(one))),
    more > 0 ? h("a", { href: `#/overview?problem=${encodeURIComponent(problem.id)}&view=table` }, `${num(more)} more`) : null));
}

/** @type {Acts} */
export const acts = {
  async copyNames(page, { problem }) {
    const mine = page.state.sites.filter(site => site.problem === problem).map(site => site.name);
    await copyText(mine.join("\n"));
    toast(`${plural(mine.length, "name")} copied.`);
  },
};
