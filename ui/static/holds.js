/** Sentences about holds of a strategy: who, why, since, and what goes on meanwhile. */

import { h, moment, num, plural, time } from "./elements.js";

/** @type {Record<string, string>} */
const KINDS = {
  budget: "Failure budget exceeded",
  prepare: "A preparation failed",
  soak: "Waiting after a stage",
  gate: "Waiting for an approval",
};

/**
 * Return what a hold means, as parts of a paragraph.
 * @param {Strategy} strategy
 * @param {Api.Hold} hold
 */
export function holdSentence(strategy, hold) {
  const parts = [h("b", null, hold.by ? ["Held by ", h("bdi", null, hold.by)] : KINDS[hold.kind] || "Held"), " since ",
    time(moment(hold.since)), ". "];
  if (hold.reason) parts.push(h("bdi", null, hold.by ? `“${hold.reason}” ` : `${hold.reason} `));
  if (hold.until) parts.push("It ends at ", time(moment(hold.until)), ". ");
  parts.push(effect(strategy.progress || {}, hold));
  return parts;
}

/**
 * @param {Partial<Api.Progress>} progress
 * @param {Api.Hold} hold
 */
function effect(progress, hold) {
  const busy = (progress.running || 0) + (progress.preparing || 0), inFlight = busy + (progress.queued || 0) + (progress.parked || 0);
  if (hold.stage != null) return `No site starts after stage ${hold.stage}; ${plural(inFlight, "site")} in flight go on.`;
  if (hold.scope === "starts") return `No new site starts; ${num(inFlight)} in flight go on to their end.`;
  return `Nothing starts; ${num(busy)} at work end their present phase, ${num(progress.parked || 0)} are parked.`;
}
