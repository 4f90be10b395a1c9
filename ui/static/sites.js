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
export const ORDER = /** @type {SiteState[]} */ (Object.keys(STATES));

/** Short words of the phases by the state that a step has in them. @type {Record<string, SiteState>} */
export const PHASES = {
  "prestage-precheck": "precheck",
  "prestage-prepare": "prepare",
  "prestaging-packages": "packages",
  "prestaging-images": "images",
};

/** Return the short word of a phase. @param {string | null | undefined} state */
export const phaseWord = state => PHASES[state || ""] || state || "";

/**
 * Return the state that a step is shown in.
 * @param {Step} step of the API
 * @param {boolean} [isHeld] whether a hold of the strategy covers phases
 * @returns {SiteState}
 */
export function stateOf(step, isHeld = false) {
  if (step.outcome) return step.outcome === "cancelled" ? "aborted" : step.outcome;
  if (step.state === "complete" || step.state === "failed") return step.state;
  if (step.state.startsWith("abort")) return "aborted";
  if (step.state === "initial") return step.held ? "held" : "waiting";
  const run = step["run-state"];
  if (run === "running") return PHASES[step.state];
  if (step.held || (isHeld && !run)) return "held";
  // A preparation is made once for many sites; the others wait for it without a run of their own.
  return step.state === "prestage-prepare" && !run ? "prepare" : "slot";
}

/** A site of the strategy: its step as the API shows it, and how the page shows it. */
export class Site {
  /**
   * @param {Step} step of the API
   * @param {number} i its place in the order of stages
   * @param {boolean} isHeld whether a hold of the strategy covers phases
   */
  constructor(step, i, isHeld) {
    this.i = i;
    this.step = step;
    this.state = stateOf(step, isHeld);
    /** @type {number | null | undefined} */
    this._since = undefined;
    /** @type {number | null | undefined} */
    this._startedAt = undefined;
    /** @type {number | null | undefined} */
    this._endedAt = undefined;
    this.name = step.cloud;
    this.stage = step.stage;
    /** What its playbook told last; null: nothing yet. @type {{task?: string}?} */
    this.progress = null;
  }

  /**
   * Take a newer step, and return whether a cell or a filter shows it in another way.
   * @param {Step} step
   * @param {boolean} isHeld
   */
  take(step, isHeld) {
    const { step: before, state } = this;
    this.step = step;
    this.state = stateOf(step, isHeld);
    // Of thousands of sites few are looked at: their moments are parsed when they are.
    this._since = this._startedAt = this._endedAt = undefined;
    return this.state !== state || (/** @type {const} */ (["details", "problem", "group"])).some(key => step[key] !== before[key]);
  }

  get group() {
    return this.step.group || "";
  }

  get details() {
    return this.step.details || "";
  }

  get problem() {
    return this.step.problem || null;
  }

  get worker() {
    return this.step.worker || null;
  }

  get attempt() {
    return this.step.attempt || 1;
  }

  /** Since when it is in its phase, in seconds since the epoch; null: not known. @returns {number?} */
  get since() {
    const { step } = this;
    return (this._since ??= moment(step["phase-started-at"] || step["updated-at"]));
  }

  /** @param {number?} value */
  set since(value) {
    this._since = value;
  }

  get startedAt() {
    return (this._startedAt ??= moment(this.step["started-at"]));
  }

  get endedAt() {
    return (this._endedAt ??= moment(this.step["finished-at"]));
  }
}

/** Return whether a strategy has ended. @param {{state: string}} strategy */
export const isOver = strategy => ["complete", "failed", "aborted"].includes(strategy.state);

/**
 * Return how many sites are in each state.
 * @param {Site[]} sites
 * @returns {Record<SiteState, number>}
 */
export function countStates(sites) {
  const counts = /** @type {Record<SiteState, number>} */ (Object.fromEntries(ORDER.map(state => [state, 0])));
  for (const site of sites) counts[site.state]++;
  return counts;
}

/** Return the names of the groups, in the order in which sites name them. @param {Site[]} sites */
export const groupsOf = sites => [...new Set(sites.map(site => site.group))].filter(Boolean);

/** Return whether a filter leaves anything out. @param {Filter} filter */
export const isFiltered = filter => Boolean(filter.q.trim() || filter.group || filter.states.size || filter.problem);

/**
 * Return the test whether a site passes a filter.
 * @param {Filter} filter
 * @returns {(site: Site) => boolean}
 */
export function filterTest(filter) {
  const text = filter.q.trim().toLowerCase();
  return site =>
    (!filter.group || site.group === filter.group) &&
    (!filter.states.size || filter.states.has(site.state)) &&
    (!filter.problem || site.problem === filter.problem) &&
    (!text || site.name.toLowerCase().includes(text) || site.details.toLowerCase().includes(text));
}

/** Return whether a playbook or a precheck works on a site. @param {Site} site */
export const isRunning = site => STATES[site.state].kind === "running";

/** Return whether the work on a site has begun and not ended. @param {Site} site */
export const isInFlight = site => isRunning(site) || site.state === "slot" || (site.state === "held" && site.step["started-at"] != null);
