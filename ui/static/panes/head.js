/** The head of the overview: state of the strategy, bar, counts that filter, figures, and the commands of now. */

import { button, glyph, h, moment, num, span, time } from "../elements.js";
import { STATES, isOver } from "../sites.js";

/** @type {Record<string, [kind: string, word: string, sign: string]>} */
const WORDS = {
  initial: ["", "Not applied yet", "waiting"],
  applying: ["run", "Applying", "images"],
  held: ["hold", "Applying, held", "held"],
  "abort requested": ["hold", "Abort requested", "aborted"],
  aborting: ["hold", "Aborting", "aborted"],
  aborted: ["", "Aborted", "aborted"],
  failed: ["fail", "Ended with failures", "failed"],
  complete: ["done", "Complete", "complete"],
};
/** @type {SiteState[]} */
const IN_BAR = ["complete", "skipped", "failed", "aborted", "images", "packages", "prepare", "precheck", "slot", "held", "waiting"];
/** @type {SiteState[]} */
const IN_LEGEND = ["complete", "skipped", "failed", "aborted", "precheck", "prepare", "packages", "images", "slot", "held", "waiting"];

/** Return the head. @param {Page} page */
export function head(page) {
  const { state } = page, { active: strategy, counts } = state, total = state.sites.length;
  const isHeld = strategy.holds.length > 0 && strategy.state === "applying";
  const [kind, word, sign] = WORDS[isHeld ? "held" : strategy.state] || ["", strategy.state, "waiting"];
  return h("section", { class: "head", "aria-label": "Strategy" },
    h("div", { class: "headline" },
      h("h1", null, `Strategy ${strategy.id}`, h("span", { class: `word ${kind}` }, glyph(sign, 14), word)),
      facts(state),
      h("div", { class: "commands" }, commands(page))),
    h("div", { class: "barline", role: "img", "aria-label": told(counts) || "no sites" }, IN_BAR.filter(key => counts[key]).map(key =>
      h("i", { class: `g-${key}`, style: { flex: String(counts[key]) }, title: `${num(counts[key])} ${STATES[key].word}` }))),
    h("div", { class: "legend", role: "group", "aria-label": "Filter by state" }, IN_LEGEND.map(key => legend(page, key, counts[key]))),
    h("div", { class: "figures" }, figures(state, counts, total)));
}

/** @param {Record<SiteState, number>} counts */
const told = counts => IN_BAR.filter(key => counts[key]).map(key => `${counts[key]} ${STATES[key].word}`).join(", ");

/** @param {State} state */
function facts(state) {
  const { active: strategy, past } = state, count = state.sites.length || strategy.progress.total;
  const parts = [h("b", null, strategy["extra-args"]["prestage-software-version"]), ` to ${num(count)} site${count === 1 ? "" : "s"}`];
  if (past?.["requested-by"]) parts.push(" · by ", h("bdi", null, past["requested-by"]));
  if (strategy["retry-of"]) parts.push(" · retry of ", h("a", { href: `#/history/${strategy["retry-of"]}` }, strategy["retry-of"]));
  const began = strategy.progress["started-at"];
  parts.push(began ? ", started " : ", made ", time(moment(began || strategy["created-at"])));
  return h("span", { class: "facts" }, parts);
}

/**
 * @param {Page} page
 * @param {SiteState} key
 * @param {number} count
 */
function legend(page, key, count) {
  const { word, note } = STATES[key];
  return h("button", {
    type: "button", "data-act": "filterState", "data-state": key, "aria-pressed": String(page.filter.states.has(key)),
    class: count ? "" : "zero", title: `${word}: ${note}`,
  }, glyph(key), h("b", null, num(count)), key === "slot" ? "wait for slot" : word);
}

/**
 * Why a command of the strategy is not legal now; null: it is.
 * @param {Page} page
 * @param {string} command
 * @param {string} [kind]
 */
export function whyNot(page, command, kind = "change") {
  const strategy = page.state.active;
  if (page.refusal) return page.refusal;
  const role = page.roleRefusal(kind);
  if (role) return role;
  if (strategy.commands.includes(command)) return null;
  const told = strategy["commands-refused"]?.[command];
  if (told) return told;
  if (isOver(strategy)) return "the strategy has ended";
  if (strategy.state === "initial") return "the strategy was not applied yet";
  if (command === "resume") return "nothing is held";
  if (strategy.state.startsWith("abort")) return "an abort was requested already";
  return `not while the strategy is ${strategy.state}`;
}

/** @param {Page} page */
function commands(page) {
  const { active: strategy, sites } = page.state, failed = strategy.progress.failed + strategy.progress.cancelled;
  const hasEnded = isOver(strategy), isNew = strategy.state === "initial";
  const isHeld = strategy.commands.includes("resume");
  const open = strategy.progress.aborted + strategy.progress["not-started"];
  const again = hasEnded ? failed + open : failed;
  const retryWhy = page.refusal || page.roleRefusal() || (again && (hasEnded || strategy.state === "applying") ? null
    : again ? "an abort was requested" : "no site has failed");
  const list = [];
  if (isNew) list.push(button("Apply…", "apply", { icon: "play", kind: "primary", why: whyNot(page, "apply") }));
  else {
    list.push(button("Pause…", "pause", { icon: "pause", why: whyNot(page, "pause", "manage") }));
    list.push(button("Resume…", "resume", { icon: "play", kind: isHeld && !page.refusal ? "primary" : "", why: whyNot(page, "resume") }));
    list.push(button(again ? `Retry ${num(again)}…` : "Retry…", "retry", {
      icon: "retry", "aria-label": `Retry ${again} sites`, why: retryWhy,
    }));
  }
  const early = undecided(strategy);
  if (early) list.push(button("Approve…", "approve", { icon: "check", why: page.refusal || page.roleRefusal(), data: { stage: early.stage } }));
  list.push(button("Limits…", "limits", { icon: "sliders", why: whyNot(page, "update") }));
  if (!isNew && !hasEnded) list.push(button("Abort…", "abort", { icon: "stop", class: "btn gap", why: whyNot(page, "abort") }));
  if (hasEnded || isNew) list.push(button("Delete…", "remove", { icon: "cancel", class: "btn gap", why: whyNot(page, "delete") }));
  else list.push(button("Cancel…", "cancelAll", { icon: "cancel", why: whyNot(page, "cancel") }));
  return sites.length || isNew || hasEnded ? list : list.slice(0, 0);
}

/**
 * A stage whose end may be approved before it comes; the banner of a hold has its own buttons.
 * @param {Strategy} strategy
 */
function undecided({ commands: legal, holds, rollout }) {
  if (!legal.includes("approve") || holds.some(hold => hold.kind === "gate")) return null;
  return rollout?.stages?.find((/** @type {ShownStage} */ one) => one.gate && !one.decision && !one["passed-at"] && one.stage != null);
}

/**
 * @param {string} label
 * @param {Kid} value
 * @param {Kid} note
 * @param {string} [title]
 */
function figure(label, value, note, title) {
  return h("dl", { class: "fig", title }, h("dt", null, label), h("dd", null, value, h("div", { class: "note" }, note)));
}

/**
 * @param {State} state
 * @param {Record<SiteState, number>} counts
 * @param {number} total
 */
function figures(state, counts, total) {
  const { active: strategy } = state, progress = strategy.progress;
  const ended = counts.complete + counts.skipped + counts.failed + counts.aborted;
  const part = total ? `${((ended / total) * 100).toFixed(1)} %` : "–";
  return [
    figure("Ended", [num(ended), h("small", null, ` of ${num(total)}`)], part),
    stage(state),
    pace(state, ended),
    end(state),
    budget(state),
    slots(state, counts),
  ];
}

/**
 * Of one that has ended the API tells no pace: what counts is how fast it was as a whole.
 * @param {State} state
 * @param {number} ended
 */
function pace({ active: strategy, past }, ended) {
  const hasEnded = isOver(strategy), took = past?.["duration-s"], value = hasEnded ? (took ? (ended / took) * 60 : null) : strategy.progress.pace;
  if (value == null || strategy.state === "initial") return figure("Pace", "–", hasEnded ? "not known" : "not applied yet");
  return figure("Pace", [value.toFixed(1), h("small", null, " sites/min")], hasEnded ? "from its first site to its last" : "over the last minutes");
}

/** @param {State} state */
function stage(state) {
  const now = currentStage(state);
  if (!now) return figure("Stage", "–", "");
  const many = new Set(state.sites.map(site => site.stage)).size;
  const mine = state.sites.filter(site => site.stage === now), ended = mine.filter(site => STATES[site.state].kind === "ended").length;
  const named = state.active.rollout?.stages?.find((/** @type {ShownStage} */ one) => one.stage === now)?.name;
  return figure("Stage", [num(now), h("small", null, ` of ${num(many)}${named ? `, ${named}` : ""}`)], `${num(ended)} of ${num(mine.length)} ended`);
}

/**
 * Return the first stage with a site that has not ended; the last one when all have; 0 without sites.
 * @param {State} state
 */
export function currentStage(state) {
  const open = state.sites.find(site => STATES[site.state].kind !== "ended");
  return open?.stage ?? state.sites.at(-1)?.stage ?? 0;
}

/** @param {State} state */
function end(state) {
  const { active: strategy, past } = state, { eta, "eta-missing": missing } = strategy.progress;
  const title = "Half of the simulated ends lie before the first time, nine of ten before the second";
  if (isOver(strategy)) {
    const took = past?.["duration-s"];
    return figure("Ended at", time(moment(past?.["finished-at"])), took == null ? "" : `after ${span(took)}`);
  }
  if (!eta) return figure("Likely done", h("span", { class: "sub" }, "unknown"), missing || (strategy.state === "initial" ? "not applied yet" : ""));
  const early = moment(eta.p50) ?? 0, late = moment(eta.p90) ?? 0, now = Date.now() / 1000;
  return figure("Likely done", [time(early), h("small", null, " to "), time(late)],
    `in ${span(early - now, true)} to ${span(late - now, true)}`, title);
}

/** Return how many failures the strategy bears; null: any number. @param {Strategy} strategy */
export function allowedFailures(strategy) {
  const limit = strategy.rollout?.["max-failures"];
  if (limit == null) return null;
  if (typeof limit === "number") return limit;
  return Math.floor((parseFloat(limit) / 100) * strategy.progress.total);
}

/** @param {State} state */
function budget(state) {
  const { active: strategy } = state, { failed } = strategy.progress, limit = allowedFailures(strategy);
  if (limit == null) {
    const note = strategy["stop-on-failure"] ? "one stops the strategy" : "no limit";
    return figure("Failed", h("span", { class: failed ? "bad" : "" }, num(failed)), note);
  }
  const isExceeded = failed > limit, action = strategy.rollout["on-budget"] === "stop" ? "stop" : "pause";
  return figure("Failure budget", [h("span", { class: isExceeded ? "bad" : "" }, num(failed)), h("small", null, ` of ${num(limit)}`)],
    isExceeded ? "exceeded" : `${num(limit - failed)} left, then ${action}`);
}

/**
 * @param {State} state
 * @param {Record<SiteState, number>} counts
 */
function slots(state, counts) {
  if (!state.workers) return figure("Slots", "–", "");
  const alive = state.workers.filter(one => one.alive && one.roles.includes("worker"));
  /** @param {string} key */
  /** @param {"running" | "slots"} key */
  const sum = key => alive.reduce((all, one) => all + (one[key] || 0), 0);
  return figure("Slots", [num(sum("running")), h("small", null, ` of ${num(sum("slots"))}`)],
    alive.length ? `${num(counts.slot)} sites wait for one` : "no worker");
}
