/** Sites of a strategy as the page shows them: a step of the API as one of eleven states, counts and filters. */

import { moment } from "./elements.js";

/** The states, in the order in which a site goes through them. */
export const STATES = {
  waiting: { letter: "W", word: "not started", kind: "open", note: "it has not begun" },
  held: { letter: "H", word: "held", kind: "open", note: "a hold keeps it back" },
  slot: { letter: "Q", word: "waiting for a slot", kind: "flight", note: "its next phase is queued" },
  precheck: { letter: "1", word: "precheck", kind: "running", note: "facts are read and judged" },
  prepare: { letter: "2", word: "prepare", kind: "running", note: "packages are worked out on the controller" },
  packages: { letter: "3", word: "packages", kind: "running", note: "packages are taken and verified" },
  images: { letter: "4", word: "images", kind: "running", note: "images are fetched and verified" },
  complete: { letter: "C", word: "complete", kind: "ended", note: "everything is staged" },
  skipped: { letter: "S", word: "skipped", kind: "ended", note: "there was nothing to do" },
  failed: { letter: "F", word: "failed", kind: "ended", note: "see problems" },
  aborted: { letter: "A", word: "aborted", kind: "ended", note: "it was stopped on request" },
};
export const ORDER = Object.keys(STATES);

/** Short words of the phases by the state that a step has in them. */
export const PHASES = {
  "prestage-precheck": "precheck",
  "prestage-prepare": "prepare",
  "prestaging-packages": "packages",
  "prestaging-images": "images",
};

/** Return the short word of a phase. */
export const phaseWord = state => PHASES[state] || state || "";

/**
 * A site of the strategy.
 * @typedef {{i: number, name: string, state: string, stage: number, group: string, step: Object, details: string,
 *   problem: string?, since: number?, startedAt: number?, endedAt: number?, worker: string?, attempt: number}} Site
 */

/**
 * Return the state that a step is shown in.
 * @param {Object} step of the API
 * @param {boolean} isHeld whether a hold of the strategy covers phases
 */
export function stateOf(step, isHeld = false) {
  if (step.outcome) return step.outcome === "cancelled" ? "aborted" : step.outcome;
  if (step.state === "complete" || step.state === "failed") return step.state;
  if (step.state.startsWith("abort")) return "aborted";
  if (step.state === "initial") return step.held ? "held" : "waiting";
  const run = step["run-state"];
  if (run === "parked" || (step.held && run !== "running" && run != null) || (isHeld && run === null)) return "held";
  if (run && run !== "running" && run !== "preparing") return "slot";
  return phaseWord(step.state) in STATES ? phaseWord(step.state) : "slot";
}

/** Return a step of the API as a site; `i` is its place in the order of stages. */
export function siteOf(step, i, isHeld) {
  return {
    i,
    name: step.cloud,
    state: stateOf(step, isHeld),
    stage: step.stage,
    group: step.group || "",
    step,
    details: step.details || "",
    problem: step.problem || null,
    since: moment(step["phase-started-at"] || step["updated-at"] || step["started-at"]),
    startedAt: moment(step["started-at"]),
    endedAt: moment(step["finished-at"]),
    worker: step.worker || null,
    attempt: step.attempt || 1,
  };
}

/** Return how many sites are in each state. */
export function countStates(sites) {
  const counts = Object.fromEntries(ORDER.map(state => [state, 0]));
  for (const site of sites) counts[site.state]++;
  return counts;
}

/** Return the names of the groups, in the order in which sites name them. */
export const groupsOf = sites => [...new Set(sites.map(site => site.group))].filter(Boolean);

/** Return whether a filter leaves anything out. */
export const isFiltered = filter => Boolean(filter.q.trim() || filter.group || filter.states.size || filter.problem);

/** Return the test whether a site passes a filter. */
export function filterTest(filter) {
  const text = filter.q.trim().toLowerCase();
  return site =>
    (!filter.group || site.group === filter.group) &&
    (!filter.states.size || filter.states.has(site.state)) &&
    (!filter.problem || site.problem === filter.problem) &&
    (!text || site.name.toLowerCase().includes(text) || site.details.toLowerCase().includes(text));
}

/** Return whether a playbook or a precheck works on a site. */
export const isRunning = site => STATES[site.state].kind === "running";

/** Return whether the work on a site has begun and not ended. */
export const isInFlight = site => isRunning(site) || site.state === "slot" || (site.state === "held" && site.startedAt != null);
