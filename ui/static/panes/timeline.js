/** The pane of the timeline: sites in flight and ended sites over time, holds, the likely end, and the stages. */

import { ApiError, get } from "../api.js";
import { h, moment, name, num, span, time } from "../elements.js";
import { STATES, isOver } from "../sites.js";
import { siteAddress } from "../routes.js";
import { FLIGHT, LEFT, RIGHT, TOP, ended, flight, viewOf } from "./charts.js";

// Between two reads while a strategy goes on, in milliseconds.
const READ_MS = 5_000;
// Most stages that the table lists, and how many of them lie before the present one.
const MOST_STAGES = 120;
const STAGES_BEFORE = 20;

/** Return the elements of the pane. @param {Page} page */
export function render(page) {
  const own = page.own("timeline"), strategy = strategyOf(page);
  const course = courseOf(page);
  if (own.error && !course) return empty("No timeline", own.error);
  if (!strategy) return page.part ? empty(`Strategy ${page.part}`, "Loading…") : empty("No strategy", "There is none now. Its course over time is shown here once it is applied.");
  if (!course) return own.series?.id === strategy.id || strategy.state === "initial" ? empty("Nothing has started", `Strategy ${strategy.id} has not begun: its course over time comes here.`)
    : empty(`Strategy ${strategy.id}`, "Loading…");
  const view = viewOf(page, course);
  return h("div", { "data-key": `timeline${strategy.id}` },
    h("div", { class: "headline problems" }, h("h1", null, "Timeline"), h("span", { class: "facts" }, facts(strategy, course))),
    flight(course, view, own.reading || null), ended(course, view), stages(course, sitesOfStages(page, own)));
}

/**
 * Return the strategy that the address names, else the active one; null: there is none, or it was not read yet.
 * @param {Page} page
 */
function strategyOf(page) {
  const active = page.state.strategy, { past } = page.own("timeline");
  if (!page.part || String(active?.id) === page.part) return active;
  return String(past?.id) === page.part ? past : null;
}

/**
 * @param {Kid} title
 * @param {string} text
 */
function empty(title, text) {
  return h("div", { "data-key": "notimeline" }, h("div", { class: "headline" }, h("h1", null, "Timeline")),
    h("div", { class: "empty" }, h("h2", null, title), h("p", { class: "sub", dir: "auto" }, text), h("a", { class: "btn", href: "#/overview" }, "Back to the overview")));
}

/**
 * @param {Strategy} strategy
 * @param {Course} course
 */
function facts(strategy, { eta, hasEnded }) {
  const parts = ["strategy ", h("a", { href: `#/history/${strategy.id}` }, strategy.id)];
  if (eta) parts.push(", likely done ", time(eta.p50), " to ", time(eta.p90));
  else if (!hasEnded && strategy.progress["eta-missing"]) parts.push(`, end unknown: ${strategy.progress["eta-missing"]}`);
  return parts;
}

/**
 * Return what the charts and the table show, from the series that was read last; null before the first site.
 * @param {Page} page
 * @returns {Course?}
 */
function courseOf(page) {
  const strategy = strategyOf(page), { series } = page.own("timeline");
  if (!strategy || series?.id !== strategy.id || !series.points.length) return null;
  const { eta } = strategy.progress, hasEnded = isOver(strategy) || series.hasEnded, isActive = strategy === page.state.strategy;
  const to = hasEnded ? series.to : Math.max(series.to, Date.now() / 1000), late = (eta && moment(eta.p90)) || 0;
  return {
    // An end that was likely before now, and did not come, is none.
    ...series, hasEnded, to, eta: eta && late > to ? { p50: Math.max(to, moment(eta.p50) ?? 0), p90: late } : null,
    width: strategy["max-parallel-subclouds"], slots: isActive && !hasEnded ? sumOfSlots(page.state.workers) : null,
  };
}

/**
 * Return a series of the API with its moments as seconds since the epoch.
 * @param {number} id
 * @param {Api.TimeSeries} found
 * @param {boolean} hasEnded
 * @returns {Series}
 */
function taken(id, found, hasEnded) {
  const from = moment(found.from) ?? 0;
  return {
    id, hasEnded, from, to: Math.max(moment(found.to) ?? 0, from + 1), holds: found.holds,
    points: found.points.map(point => ({ at: moment(point.at) ?? 0, flight: point["in-flight"], ended: point.ended, failed: point.failed })),
    stages: found.stages.map(one => ({
      number: one.stage, name: one.name, sites: one.sites, ended: one.ended, failed: one.failed,
      from: moment(one["started-at"]), to: moment(one["finished-at"]),
    })),
    total: found.stages.reduce((all, one) => all + one.sites, 0),
  };
}

/**
 * Return by stage the groups of its sites, and the site that ended last; kept until the series is read again.
 * @param {Page} page
 * @param {Own["timeline"]} own
 * @returns {Map<number, StageSites>}
 */
function sitesOfStages(page, own) {
  const { sites } = page.state, isActive = strategyOf(page) === page.state.strategy;
  if (!isActive) return new Map();
  if (own.stagesOf !== own.series || own.sitesOf !== sites) Object.assign(own, { stagesOf: own.series, sitesOf: sites, known: lastOfStages(sites) });
  return own.known || new Map();
}

/** @param {Site[]} sites */
function lastOfStages(sites) {
  const found = new Map();
  for (const site of sites) {
    const end = site.step["finished-at"] || "";
    let stage = found.get(site.stage);
    if (!stage) found.set(site.stage, (stage = { groups: new Set(), last: null, end: "" }));
    if (site.group) stage.groups.add(site.group);
    if (STATES[site.state].kind === "ended" && end > stage.end) Object.assign(stage, { last: site, end });
  }
  return found;
}

/** @param {Api.Worker[]?} workers */
function sumOfSlots(workers) {
  const alive = (workers || []).filter(one => one.alive && one.slots);
  return alive.length ? alive.reduce((all, one) => all + (one.slots || 0), 0) : null;
}

// -- stages ---------------------------------------------------------------------------

/**
 * @param {Course} course
 * @param {Map<number, StageSites>} known
 */
function stages({ stages: all, to }, known) {
  const open = all.findIndex(stage => stage.ended < stage.sites);
  const first = Math.max(0, Math.min((open < 0 ? all.length : open) - STAGES_BEFORE, all.length - MOST_STAGES));
  const listed = all.slice(first, first + MOST_STAGES), column = (/** @type {string} */ word, cls = "") => h("th", { scope: "col", class: cls || null }, word);
  return h("section", { class: "panel", "aria-labelledby": "stages-heading" }, h("h2", { id: "stages-heading", class: "pad4" }, "Stages"),
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-labelledby": "stages-heading" }, h("table", { class: "fit" },
      h("thead", null, h("tr", null, ["Stage", "Sites", "Started", "Ended", "Took"].map(word => column(word, "num")), column("Group"), column("Failed", "num"), column("Last site to end"))),
      h("tbody", null, listed.map(stage => stageRow(stage, to, known.get(stage.number)))))),
    all.length > listed.length ? h("p", { class: "dim pad" }, `Stages ${num(listed[0].number)} to ${num(listed[listed.length - 1].number)} of ${num(all.length)} are listed.`) : null);
}

/**
 * @param {Stage} stage
 * @param {number} to
 * @param {StageSites} [known]
 */
function stageRow(stage, to, known) {
  const { groups: named = [], last = null } = known || {};
  const isDone = stage.ended === stage.sites, isNow = stage.from != null && !isDone, groups = [...named];
  return h("tr", { class: isNow ? "now" : null },
    h("td", { class: "num" }, isNow ? h("b", null, stage.number) : stage.number, stage.name ? [" ", h("bdi", { class: "dim" }, stage.name)] : null),
    h("td", { class: "num" }, num(stage.sites)), h("td", { class: "num" }, time(stage.from)),
    h("td", { class: "num" }, isDone ? time(stage.to) : isNow ? h("span", { class: "sub" }, `${num(stage.ended)} of ${num(stage.sites)}`) : "–"),
    h("td", { class: "num" }, stage.from == null ? "–" : span((isDone ? stage.to ?? stage.from : to) - stage.from)),
    h("td", null, groups.length > 2 ? `${num(groups.length)} groups` : groups.map((one, i) => [i ? ", " : "", h("bdi", null, one)])),
    h("td", { class: `num${stage.failed ? " bad" : ""}` }, stage.failed ? num(stage.failed) : "–"),
    h("td", null, isDone && last ? [h("a", { href: siteAddress(last.name) }, name(last.name)),
      last.startedAt == null ? null : h("span", { class: "dim" }, ` ${span((last.endedAt ?? 0) - last.startedAt)}`)] : ""));
}

// -- what is read -----------------------------------------------------------------------

/** Read what the address names. @param {Page} page */
export function enter(page) {
  const own = page.own("timeline");
  Object.assign(own, { error: "", isUnknown: false, reading: "", cursor: null });
  if (isStale(page, own)) void read(page, own);
}

/**
 * @param {Page} page
 * @param {Own["timeline"]} own
 */
function isStale(page, own) {
  if (own.isReading || own.isUnknown || !page.state.me || page.refusal) return false;
  const strategy = strategyOf(page), isOld = Date.now() - (own.readAt || 0) >= READ_MS;
  if (own.error) return isOld && Boolean(strategy || page.part);
  if (!strategy) return Boolean(page.part);
  if (own.series?.id !== strategy.id || own.state !== strategy.state) return true;
  return isOld && !isOver(strategy) && strategy.state !== "initial";
}

/**
 * @param {Page} page
 * @param {Own["timeline"]} own
 */
async function read(page, own) {
  const wanted = page.part || String(page.state.active.id), path = `/strategies/${encodeURIComponent(wanted)}`;
  own.isReading = true;
  try {
    const isActive = String(page.state.strategy?.id) === wanted, past = isActive ? null : await get(path);
    const strategy = past || page.state.active, found = await get(`${path}/series`);
    const hasEnded = isOver(strategy) || Boolean(past?.["deleted-at"]);
    Object.assign(own, { past, error: "", state: strategy.state, series: taken(strategy.id, found, hasEnded) });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    // What is shown stays, and is read again but where there is no such strategy.
    Object.assign(own, { error: error.message, isUnknown: error.status >= 400 && error.status < 500 });
  } finally {
    Object.assign(own, { isReading: false, readAt: Date.now() });
  }
  if (page.pane === "timeline") page.render();
}

// -- the reading --------------------------------------------------------------------

/**
 * @param {Page} page
 * @param {number} at
 */
function tell(page, at) {
  const chart = document.getElementById("chart"), course = courseOf(page);
  if (!chart || !course) return;
  const own = page.own("timeline"), view = viewOf(page, course);
  const cursor = (own.cursor = Math.max(course.from, Math.min(course.to, at)));
  const point = course.points.findLast(one => one.at <= cursor) || { flight: 0, ended: 0, failed: 0 };
  const stage = course.stages.find(one => one.from != null && one.from <= cursor && (one.to == null || one.to >= cursor));
  own.reading = `${view.clock(cursor)}  ${stage ? ` stage ${stage.number},` : ""} ${num(point.flight)} in flight${course.width ? ` of ${num(course.width)}` : ""}, ${num(point.ended)} ended, ${num(point.failed)} failed`;
  const readout = document.getElementById("readout");
  if (readout) readout.textContent = own.reading;
  document.getElementById("cross")?.setAttribute("d", `M${view.x(cursor)} ${TOP}V${FLIGHT}`);
}

/** Read anew what has become old, and follow the pointer. @param {Page} page */
export function rendered(page) {
  if (isStale(page, page.own("timeline"))) void read(page, page.own("timeline"));
  const chart = document.getElementById("chart");
  if (!chart || chart.dataset.followed) return;
  chart.dataset.followed = "1";
  chart.addEventListener("pointermove", event => {
    const course = courseOf(page), box = chart.getBoundingClientRect();
    if (!course) return;
    const { width, last } = viewOf(page, course), x = ((event.clientX - box.left) / box.width) * width;
    tell(page, course.from + ((x - LEFT) / (width - LEFT - RIGHT)) * (last - course.from));
  });
}

/**
 * Move the reading with the arrow keys.
 * @param {Page} page
 * @param {KeyboardEvent} event
 */
export function key(page, event) {
  const course = courseOf(page);
  // The course may be gone though its chart is still shown.
  if (!course || !(event.target instanceof Element) || event.target.id !== "chart") return false;
  const step = (course.to - course.from) / 50, at = page.own("timeline").cursor ?? course.to;
  const wanted = /** @type {Record<string, number>} */ ({ ArrowLeft: at - step, ArrowRight: at + step, Home: course.from, End: course.to })[event.key];
  if (wanted === undefined) return false;
  tell(page, wanted);
  return true;
}
