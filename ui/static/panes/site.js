/** The sheet of one site over the pane that is open: why it is where it is, facts, phases, log, and its commands. */

import { ApiError, get } from "../api.js";
import { button, glyph, h, icon, name, num, span, time } from "../elements.js";
import { STATES, isInFlight, isRunning, phaseWord } from "../sites.js";
import { overviewAddress, siteAddress } from "../routes.js";
import { LogView } from "../log.js";
import { copyText, toast } from "../dialogs.js";
import { phases } from "./phases.js";
import { focusWall } from "./overview.js";

// While a site waits or works its explanation changes without an event; in milliseconds.
const EXPLAIN_MS = 5_000;
const log = new LogView();

/** Begin with another site. @param {Page} page */
export function enter(page) {
  const own = page.own("site");
  Object.assign(own, { name: page.site, explanation: "", subcloud: null, runs: null, run: "", readFor: "", error: "" });
  const wanted = page.site;
  // The list has less of a step than its sheet shows.
  page.state.dirty.add(wanted);
  openLog(page, wanted, "");
}

/**
 * The log of one run, or of all phases.
 * @param {Page} page
 * @param {string} wanted
 * @param {string} run
 */
function openLog(page, wanted, run) {
  page.own("site").run = run;
  const path = run ? `/runs/${run}/log` : `/sw-update-strategy/steps/${encodeURIComponent(wanted)}/log`;
  log.open(path, () => page.state.index.get(wanted)?.startedAt != null);
}

/** End with the site that was shown. @param {Page} page */
export function leave(page) {
  page.own("site").name = "";
  log.close();
}

/** Return the sheet. @param {Page} page */
export function render(page) {
  const site = page.state.index.get(page.site), own = page.own("site");
  if (!site) return unknown(page);
  const order = page.matches, place = order.indexOf(site);
  return h("div", { class: `sheet${own.isFull ? " full" : ""}${own.isShown ? "" : " in"}`, role: "dialog", "aria-labelledby": "site-name", tabindex: "-1", "data-key": "site" },
    h("div", { class: "sheethead" }, h("div", { class: "title" },
      h("h1", { id: "site-name" }, glyph(site.state, 20), name(site.name)),
      h("span", { class: "dim nowrap" }, place >= 0 ? `${num(place + 1)} of ${num(order.length)}` : ""),
      small("left", "before", "Site before ( [ )"), small("right", "after", "Next site ( ] )"),
      small("wide", "full", own.isFull ? "As a drawer" : "Whole width"), small("cancel", "close", "Close (Escape)"))),
    why(page, site, own),
    h("div", { class: "acts" }, commands(page, site)),
    h("div", { class: "body" }, facts(page, site, own), phases(site, own.runs), logSection(site, own)));
}

/**
 * @param {string} sign
 * @param {string} act
 * @param {string} label
 */
const small = (sign, act, label) => button("", act, { icon: sign, kind: "ghost icononly small", "aria-label": label, title: label });

/** @param {Page} page */
function unknown(page) {
  const isLoading = !page.state.strategy && page.state.connection === "loading";
  const text = isLoading ? "Loading…" : ["The active strategy has no site ", name(page.site), "."];
  return h("div", { class: "sheet", role: "dialog", "aria-labelledby": "site-name", tabindex: "-1", "data-key": "nosite" },
    h("div", { class: "sheethead" }, h("div", { class: "title" }, h("h1", { id: "site-name" }, isLoading ? name(page.site) : "No such site"), small("cancel", "close", "Close (Escape)"))),
    h("div", { class: "body" }, h("p", null, text)));
}

/**
 * @param {Page} page
 * @param {Site} site
 * @param {Own["site"]} own
 */
function why(page, site, own) {
  const kind = site.state === "failed" ? "failed" : site.state === "held" ? "held" : isRunning(site) ? "run" : "";
  const hasReason = site.details && ["failed", "aborted", "skipped"].includes(site.state);
  const since = isRunning(site) && site.since != null ? ` for ${span(Date.now() / 1000 - site.since)}` : "";
  return h("div", { class: `say ${kind}` }, hasReason ? h("pre", { dir: "auto" }, site.details) : null,
    h("p", null, h("b", { class: `t-${site.state}` }, `${STATES[site.state].word}${since}. `), explained(page, site, own)));
}

/**
 * The explanation of a failure repeats its details, which stand above.
 * @param {Page} page
 * @param {Site} site
 * @param {Own["site"]} own
 */
function explained({ state }, site, own) {
  const isRepeat = site.details && own.explanation.includes(site.details);
  if (!isRepeat || site.state !== "failed") return h("bdi", null, isRepeat ? "" : own.explanation || own.error);
  const cause = state.problems.find(problem => problem.id === site.problem), others = (cause?.count || 1) - 1;
  return [others ? `${num(others)} other${others === 1 ? " has" : "s have"} the same cause. ` : "No other site has this cause. ", cause?.advice || ""];
}

/**
 * Why a command of the site is not legal now; null: it is.
 * @param {Page} page
 * @param {Site} site
 * @param {string} command
 * @param {string?} otherwise
 * @param {string} [kind]
 */
function whyNot(page, site, command, otherwise, kind = "change") {
  if (page.refusal) return page.refusal;
  const role = page.roleRefusal(kind);
  if (role) return role;
  const { commands, "commands-refused": refused } = site.step;
  if (commands) return commands.includes(command) ? null : refused?.[command] || otherwise || "not now";
  return otherwise;
}

/**
 * @param {Page} page
 * @param {Site} site
 */
function commands(page, site) {
  const strategy = page.state.active, hasEnded = STATES[site.state].kind === "ended", data = { site: site.name };
  const canRetry = site.state === "failed" || site.state === "aborted", isHeld = Boolean(site.step.held);
  const isMoving = ["applying", "initial"].includes(strategy.state);
  const retryWhy = page.refusal || page.roleRefusal() || (canRetry ? null : hasEnded ? "only failed and stopped sites can be tried again" : "it has not ended");
  const openWhy = hasEnded ? "it has ended" : isMoving ? null : "the strategy does not go on";
  const isWindow = strategy.rollout?.mode === "window";
  const firstWhy = !isWindow ? "only sites of a sliding window can be put first" : site.startedAt != null ? "it has started" : openWhy;
  const list = [button("Retry…", "retry", { icon: "retry", kind: canRetry ? "primary" : "", data, why: retryWhy })];
  if (isHeld) list.push(button("Release", "releaseSite", { icon: "play", data, why: whyNot(page, site, "resume", null, "manage") }));
  else list.push(button("Hold…", "holdSite", { icon: "hold", data, why: whyNot(page, site, "hold", openWhy, "manage") }));
  list.push(button("First", "firstSite", { icon: "up", data, why: whyNot(page, site, "first", firstWhy) }));
  list.push(button("Cancel this site…", "cancelSite", { icon: "cancel", data, why: whyNot(page, site, "cancel", hasEnded ? "it has ended" : isInFlight(site) || strategy.state === "applying" ? null : "it has not started") }));
  if (site.problem) list.push(h("a", { class: "btn ghost", href: `#/overview?problem=${encodeURIComponent(site.problem)}` }, icon("grid"), "Others with this cause"));
  return list;
}

/**
 * @param {Page} page
 * @param {Site} site
 * @param {Own["site"]} own
 */
function facts(page, site, own) {
  const strategy = page.state.active, one = own.subcloud, stages = new Set(page.state.sites.map(other => other.stage)).size;
  /**
   * @param {string} label
   * @param {Kid} value
   */
  const fact = (label, value) => h("div", null, h("dt", null, label), h("dd", null, value));
  const took = site.startedAt == null ? "–" : span((site.endedAt ?? Date.now() / 1000) - site.startedAt), usual = site.step["usual-s"];
  const release = strategy["extra-args"]["prestage-software-version"];
  return h("dl", { class: "factline" },
    fact("Stage", [`${site.stage} of ${stages}`, site.group ? [", ", h("bdi", null, site.group)] : ""]),
    fact("Runs, gets", h("span", { class: "mono" }, `${one?.["software-version"] || "…"} → ${release}`)),
    fact("Mode", one?.["system-mode"] || "–"),
    fact("Availability", one ? `${one["availability-status"]}, ${one["management-state"]}` : "–"),
    fact("Started", site.startedAt == null ? "not yet" : time(site.startedAt, true)),
    fact("Ended", site.endedAt == null ? "not yet" : time(site.endedAt, true)),
    fact("Took", h("span", { title: usual ? `the phase that it is in usually takes ${span(usual)}` : null }, took)),
    fact("Worker", site.worker ? h("bdi", null, site.worker) : "–"));
}

/**
 * @param {Site} site
 * @param {Own["site"]} own
 */
function logSection(site, own) {
  const isFailed = site.state === "failed", hasEnded = STATES[site.state].kind === "ended";
  return h("section", { class: "log", "aria-label": "Log" },
    h("div", { class: "tools" }, h("h2", null, "Log"),
      h("div", { class: "find" }, icon("search"), h("input", { type: "search", id: "logfind", "data-field": "log", placeholder: "Search the log", "aria-label": "Search the log", autocomplete: "off" })),
      h("span", { class: "dim", id: "logfound", "data-keep": "" }), runMenu(own), h("span", { class: "grow" }),
      isFailed ? button("Failure", "jumpfail", { kind: "small", icon: "warn", title: "Jump to the failure (e)" }) : null,
      button("Follow", "followLog", { kind: "small", icon: "down", "aria-pressed": String(log.isFollowing && !hasEnded), why: hasEnded ? "it has ended" : null }),
      button("Copy", "copyLog", { kind: "small", icon: "copy" })),
    h("div", { class: "logplace", id: "logplace", "data-keep": "" }));
}

/** @param {Own["site"]} own */
function runMenu({ runs, run }) {
  const printed = (runs || []).filter(one => one.log);
  if (!printed.length) return null;
  return h("select", { "data-field": "run", "aria-label": "Part of the log" }, h("option", { value: "" }, "All phases"),
    printed.map(one => h("option", { value: one.id, selected: String(one.id) === run },
      `${phaseWord(one.phase)}, attempt ${one.attempt}${one.outcome ? `, ${one.outcome}` : ""}`)));
}

/** Put the lines of the log into their place, and read what changed. @param {Page} page */
export function rendered(page) {
  const own = page.own("site"), place = document.getElementById("logplace");
  own.isShown = true;
  if (place && log.element.parentNode !== place) place.replaceChildren(log.element);
  log.show();
  const site = page.state.index.get(page.site);
  const age = (site && (isRunning(site) || site.state === "slot")) ? Math.floor(Date.now() / EXPLAIN_MS) : 0;
  const version = site ? `${site.state}/${site.attempt}/${site.step["phase-started-at"]}/${Boolean(site.step.held)}/${age}` : "";
  if (site && page.state.isLive && own.readFor !== version) {
    own.readFor = version;
    void read(page, own, site);
  }
}

/**
 * @param {Page} page
 * @param {Own["site"]} own
 * @param {Site} site
 */
async function read(page, own, { name: wanted, step: { id } }) {
  const path = /** @type {const} */ (`/sw-update-strategy/steps/${encodeURIComponent(wanted)}`);
  /**
   * @template {keyof Own["site"]} K
   * @param {K} key
   * @param {Own["site"][K]} value
   */
  const set = (key, value) => {
    if (own.name === wanted) own[key] = value;
  };
  /** @param {Promise<void>} promise */
  const quietly = promise => promise.catch((/** @type {unknown} */ error) => {
    if (!(error instanceof ApiError)) throw error;
    set("error", error.status === 404 ? "" : error.message);
  });
  await Promise.all([
    quietly(get(`${path}/explain`).then(answer => set("explanation", answer.explanation))),
    quietly(get(`/steps/${id}/runs`).then(answer => set("runs", answer.runs))),
    quietly(get(`/subclouds/${encodeURIComponent(wanted)}`).then(answer => set("subcloud", answer))),
  ]);
  page.render();
}

/**
 * @param {Page} page
 * @param {number} by
 */
function step(page, by) {
  const order = page.matches, at = order.findIndex(site => site.name === page.site);
  const next = order[Math.max(0, Math.min(order.length - 1, (at < 0 ? 0 : at) + by))];
  if (next) location.hash = siteAddress(next.name);
}

/**
 * Search the log for what was typed, or show the chosen part of it.
 * @param {Page} page
 * @param {HTMLInputElement} field
 */
export function changed(page, field) {
  if (field.dataset.field === "log") log.search(field.value);
  else if (field.dataset.field === "run") openLog(page, page.site, field.value);
}

/** @type {Acts} */
export const acts = {
  close(page) {
    if (!page.site) return;
    page.own("site").isShown = false;
    location.hash = page.pane === "overview" ? overviewAddress(page.filter) : `#/${page.pane}`;
    if (page.pane === "overview") setTimeout(focusWall, 0);
  },
  before: page => step(page, -1),
  after: page => step(page, 1),
  full(page) {
    page.own("site").isFull = !page.own("site").isFull;
    page.render();
  },
  followLog(page) {
    log.follow(!log.isFollowing);
    page.render();
  },
  jumpfail: () => log.jumpToFailure(),
  async copyLog() {
    await copyText(log.text);
    toast("Log copied.");
  },
};

