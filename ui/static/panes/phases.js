/** The phases of one site as bars over time: waiting for a slot, attempts, outcomes. */

import { glyph, h, hms, moment, span } from "../elements.js";
import { PHASES } from "../sites.js";

/**
 * Return the section.
 * @param {Site} site
 * @param {Api.Run[]?} runs attempts as the API lists them; null: not read yet
 */
export function phases(site, runs) {
  const now = Date.now() / 1000, all = (runs || []).map(asBar);
  // A preparation may have been made long before, for other sites.
  const begin = Math.min(...all.filter(run => !run.shared).map(run => run.queued), site.startedAt ?? now), end = site.endedAt ?? now;
  const scale = { begin, length: Math.max(1, end - begin), now };
  return h("section", { "aria-label": "Phases" },
    h("div", { class: "row pad4" }, h("h2", null, "Phases"), h("span", { class: "grow" }), h("span", { class: "dim small" }, "thin lines: waiting for a slot")),
    h("div", { class: "phases" }, Object.keys(PHASES).map(phase => lane(site, phase, all.filter(run => run.phase === phase), scale))));
}

/**
 * @param {Api.Run} run
 * @returns {Bar}
 */
function asBar(run) {
  return { ...run, queued: moment(run["queued-at"]) ?? 0, start: moment(run["started-at"]), end: moment(run["finished-at"]) };
}

/**
 * @param {Site} site
 * @param {string} phase
 * @param {Bar[]} runs
 * @param {Scale} scale
 */
function lane(site, phase, runs, scale) {
  const last = runs.at(-1), sign = signOf(site, phase, last);
  return [glyph(sign), h("span", { class: "mono" }, phase), h("span", { class: "lane" }, runs.map(run => bars(run, scale))),
    h("span", { class: "num" }, told(site, phase, last, scale.now))];
}

/**
 * @param {Site} site
 * @param {string} phase
 * @param {Bar | undefined} last
 */
function signOf(site, phase, last) {
  if (!last) return phaseIsPassed(site, phase) ? "complete" : site.step.state === phase ? site.state : "waiting";
  if (last.end == null && last.start == null) return site.state === "held" ? "held" : "slot";
  if (last.end == null) return PHASES[phase];
  return outcomeSign(last.outcome);
}

/**
 * @param {string?} outcome
 * @returns {string}
 */
const outcomeSign = outcome => /** @type {Record<string, string>} */ ({ failed: "failed", lost: "held", cancelled: "aborted", aborted: "aborted", drained: "held" })[outcome || ""] || "complete";

/**
 * Phases before the one that a site is in are behind it.
 * @param {Site} site
 * @param {string} phase
 */
function phaseIsPassed(site, phase) {
  const order = Object.keys(PHASES), at = order.indexOf(site.step.state);
  return site.state === "complete" || (at > 0 && order.indexOf(phase) < at);
}

/**
 * @param {Bar} run
 * @param {Scale} scale
 */
function bars(run, { begin, length, now }) {
  /** @param {number} moment */
  const at = moment => Math.max(0, Math.min(1, (moment - begin) / length)) * 100;
  /**
   * @param {number} from
   * @param {number} to
   */
  const place = (from, to) => ({ left: `${at(from)}%`, width: `${at(to) - at(from)}%` });
  const waited = (run.start ?? (run.end == null ? now : run.end)) - run.queued > 0.5;
  const sign = run.end == null ? PHASES[run.phase] : outcomeSign(run.outcome);
  return [
    waited ? h("i", { class: "q", style: place(run.queued, run.start ?? run.end ?? now), title: `waited ${span((run.start ?? run.end ?? now) - run.queued)} for a slot` }) : null,
    run.start == null ? null : h("i", {
      class: `g-${sign}`, style: place(run.start, run.end ?? now),
      title: `${hms(run.start)} to ${run.end == null ? "now" : hms(run.end)}, attempt ${run.attempt}, ${run.outcome || "running"}${run.worker ? `, ${run.worker}` : ""}`,
    }),
  ];
}

/**
 * @param {Site} site
 * @param {string} phase
 * @param {Bar | undefined} last
 * @param {number} now
 */
function told(site, phase, last, now) {
  if (!last) return phase === "prestaging-packages" && site.step["proved-by"] ? "passed: proved" : "–";
  if (last.shared && last.end != null && last.end <= (site.startedAt ?? 0)) return "made already";
  if (last.start == null) return last.end == null ? `queued ${span(now - last.queued)}` : "–";
  const more = last.attempt > 1 ? ` · attempt ${last.attempt}` : "";
  return [span((last.end ?? now) - last.start), more ? h("span", { class: "dim" }, more) : null];
}
