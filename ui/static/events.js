/** Events of the stream as changes of the page's picture: what they say is shown at once, and noted to be read. */

import { moment } from "./elements.js";
import { stateOf } from "./sites.js";

/**
 * Apply an event.
 * @param {State} state
 * @param {string} type such as `step.prestage.complete`
 * @param {CloudEvent} event
 */
export function applyEvent(state, type, event) {
  const [kind, , word = ""] = type.split("."), { data, subject, time } = event;
  if (kind === "strategy") return applyStrategy(state, type, data, subject);
  const isOurs = state.strategy && (data.strategy ?? Number(subject.split("/")[1])) === state.strategy.id;
  if (!isOurs) return;
  if (kind === "run") applyRun(state, data, moment(time));
  else if (kind === "step" && data.steps) applyAborted(state, data.steps, moment(time));
  else if (kind === "step") applyStep(state, word, data, moment(time));
}

/**
 * @param {State} state
 * @param {string} type
 * @param {CloudEvent["data"]} data
 * @param {string} subject
 */
function applyStrategy(state, type, data, subject) {
  if (type === "strategy.progress") return applyProgress(state, data, subject);
  state.dirtyStrategy = true;
  const isNew = type.endsWith(".initial"), isGone = type.endsWith(".deleted");
  if (isNew) state.exists = true;
  if (isGone) state.exists = Boolean(state.strategy && subject !== `strategy/${state.strategy.id}`);
  if (isNew || isGone) state.dirtyList = state.dirtyProblems = true;
  if (data.subcloud) state.dirty.add(data.subcloud);
  // What such a hold covers is parked.
  else if (type.startsWith("strategy.hold.") && data.scope === "phases") state.dirtyList = true;
}

/**
 * @param {State} state
 * @param {CloudEvent["data"]} data
 * @param {string} subject
 */
function applyProgress(state, data, subject) {
  if (!state.strategy || subject !== `strategy/${state.strategy.id}`) return;
  /** @type {Record<string, any>} */
  const progress = state.strategy.progress;
  for (const key of Object.keys(data)) if (key in progress) progress[key] = data[key];
  state.onChange(new Set());
}

/**
 * @param {State} state
 * @param {{subcloud: string, details?: string}[]} steps
 * @param {number?} at
 */
function applyAborted(state, steps, at) {
  state.dirtyStrategy = true;
  for (const { subcloud, details } of steps) {
    const site = state.index.get(subcloud);
    if (!site) continue;
    state.dirty.add(subcloud);
    Object.assign(site.step, { state: "aborted", outcome: "aborted", details: details || "" });
    show(state, site, at);
  }
}

/**
 * @param {State} state
 * @param {string} word
 * @param {CloudEvent["data"]} data
 * @param {number?} at
 */
function applyStep(state, word, data, at) {
  state.dirtyStrategy = true;
  const site = state.index.get(data.subcloud);
  if (!site) return;
  state.dirty.add(site.name);
  if (word === "failed" || site.state === "failed") state.dirtyProblems = true;
  const { step } = site;
  Object.assign(step, { state: word, details: data.details || "", problem: data.problem || null });
  // Whether a complete one was skipped is read.
  step.outcome = word === "failed" ? word : null;
  Object.assign(step, { "run-state": word.startsWith("prestag") ? "queued" : null, "phase-started-at": null, "usual-s": null, worker: null });
  site.progress = null;
  show(state, site, at);
}

/**
 * @param {State} state
 * @param {CloudEvent["data"]} data
 * @param {number?} at
 */
function applyRun(state, data, at) {
  const site = state.index.get(data.subcloud);
  if (!site || site.step.outcome || data.preparation) return;
  site.progress = data.outcome ? null : data;
  const { step } = site;
  if (step["run-state"] === "running" || data.outcome) return;
  step["run-state"] = "running";
  state.dirty.add(site.name);
  show(state, site, at);
}

/**
 * @param {State} state
 * @param {Site} site
 * @param {number?} since
 */
function show(state, site, since) {
  const now = stateOf(site.step, state.holdsPhases);
  if (now !== site.state) {
    site.since = since ?? site.since;
    state.countsMade = null;
  }
  site.state = now;
  state.onChange(new Set([site.i]));
}
