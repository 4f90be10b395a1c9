/** The pane of the timeline: sites in flight and ended sites over time, holds, the likely end, and the stages. */

import { h, hm, hms, moment, name, num, plural, s, span, time } from "../elements.js";
import { STATES } from "../sites.js";
import { siteAddress } from "../routes.js";

const LEFT = 40, RIGHT = 12, TOP = 18, FLIGHT = 200, ENDED = 150;
// Points of a curve; more would lie within a pixel.
const MOST_POINTS = 300;
// Seconds between the lines of the axis, of which the first is taken that leaves this room for its time, in pixels.
const TICKS = [10, 30, 60, 300, 900, 1800, 3600, 7200, 14400, 43200, 86400];
const TICK_ROOM = 64;

/** Return the elements of the pane. */
export function render(page) {
  const { state } = page, { strategy } = state;
  if (!strategy) return empty("No strategy", "There is none now. Its course over time is shown here once it is applied.");
  const course = courseOf(page);
  if (!course) return empty("Nothing has started", `Strategy ${strategy.id} has not begun: its course over time comes here.`);
  const view = viewOf(page, course);
  return h("div", { "data-key": "timeline" },
    h("div", { class: "headline problems" }, h("h1", null, "Timeline"), h("span", { class: "facts" }, facts(strategy, course))),
    flight(page, course, view), ended(course, view), stages(page, course));
}

function empty(title, text) {
  return h("div", { "data-key": "notimeline" }, h("div", { class: "headline" }, h("h1", null, "Timeline")),
    h("div", { class: "empty" }, h("h2", null, title), h("p", { class: "sub" }, text), h("a", { class: "btn", href: "#/overview" }, "Back to the overview")));
}

function facts(strategy, { eta, isOver }) {
  const parts = [`strategy ${strategy.id}`];
  if (eta) parts.push(", likely done ", time(eta.p50), " to ", time(eta.p90));
  else if (!isOver && strategy.progress["eta-missing"]) parts.push(`, end unknown: ${strategy.progress["eta-missing"]}`);
  return parts;
}

/**
 * Return what happened over time, from the times of the steps; null before the first site has started.
 *
 * It is kept until another site starts or ends.
 */
export function courseOf(page) {
  const { sites, strategy, past } = page.state, own = page.own("timeline");
  const starts = sites.map(site => site.startedAt).filter(at => at != null);
  if (!starts.length) return null;
  const ends = sites.filter(site => site.endedAt != null), isOver = ["complete", "failed", "aborted"].includes(strategy.state);
  const key = `${strategy.id} ${strategy.state} ${sites.length} ${starts.length} ${ends.length}`;
  if (own.key !== key) {
    const from = Math.min(...starts), changes = [];
    for (const at of starts) changes.push([at, 1, 0, 0]);
    for (const site of ends) if (site.startedAt != null) changes.push([site.endedAt, -1, 1, site.state === "failed" ? 1 : 0]);
    changes.sort((a, b) => a[0] - b[0]);
    Object.assign(own, { key, from, points: points(changes), stages: stagesOf(sites) });
  }
  const { eta } = strategy.progress;
  const until = isOver ? moment(past?.["finished-at"]) ?? Math.max(...ends.map(site => site.endedAt)) : Date.now() / 1000;
  return {
    from: own.from, to: Math.max(until, own.from + 1), points: own.points, stages: own.stages, isOver,
    eta: eta ? { p50: moment(eta.p50), p90: moment(eta.p90) } : null,
    total: sites.length, width: strategy["max-parallel-subclouds"],
    slots: sumOfSlots(page.state.workers), holds: strategy.holds || [],
  };
}

function points(changes) {
  const every = Math.ceil(changes.length / MOST_POINTS), found = [];
  let flight = 0, done = 0, failed = 0, most = 0, left = 0;
  changes.forEach(([at, by, end, failure], i) => {
    flight += by;
    done += end;
    failed += failure;
    left++;
    // One pass ends sites and starts others at the same moment: what is between is nothing that was.
    if (changes[i + 1]?.[0] === at) return;
    most = Math.max(most, flight);
    if (left < every && i < changes.length - 1) return;
    found.push({ at, flight, most, ended: done, failed });
    left = 0;
    most = flight;
  });
  return found;
}

function stagesOf(sites) {
  const found = new Map();
  for (const site of sites) {
    const stage = found.get(site.stage) || { number: site.stage, sites: 0, ended: 0, failed: 0, from: null, to: null, last: null, groups: new Set() };
    found.set(site.stage, stage);
    stage.sites++;
    if (site.group) stage.groups.add(site.group);
    if (site.startedAt != null) stage.from = Math.min(stage.from ?? Infinity, site.startedAt);
    if (STATES[site.state].kind !== "ended") continue;
    stage.ended++;
    if (site.state === "failed") stage.failed++;
    if (site.endedAt != null && site.endedAt > (stage.to ?? 0)) Object.assign(stage, { to: site.endedAt, last: site });
  }
  return [...found.values()].sort((a, b) => a.number - b.number);
}

function sumOfSlots(workers) {
  const alive = (workers || []).filter(one => one.alive && one.slots);
  return alive.length ? alive.reduce((all, one) => all + one.slots, 0) : null;
}

function viewOf(page, { from, to, eta }) {
  const last = Math.max(to + (to - from) * 0.02, eta?.p90 ?? 0), width = Math.max(280, page.width);
  const x = at => LEFT + ((at - from) / (last - from)) * (width - LEFT - RIGHT);
  const every = TICKS.find(one => (width - LEFT - RIGHT) / ((last - from) / one) > TICK_ROOM) || TICKS.at(-1);
  const ticks = [];
  for (let at = Math.ceil(from / every) * every; at < last; at += every) ticks.push(at);
  return { width, last, x: at => x(at).toFixed(1), number: x, ticks, isNarrow: width < 560, clock: every < 60 ? hms : hm };
}

function axes(view, height, values, y) {
  return [
    values.map(value => [s("path", { class: "axis", d: `M${LEFT} ${y(value)}H${view.width - RIGHT}` }),
      s("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, num(value))]),
    view.ticks.map(at => [s("path", { class: "axis", d: `M${view.x(at)} ${TOP}V${height}` }),
      s("text", { x: view.x(at), y: height + 14, "text-anchor": "middle" }, view.clock(at))]),
  ];
}

const sign = (shape, text) => h("span", null, s("svg", { width: 18, height: 10, class: "chart", style: { width: "18px" } }, shape), text);

function flight(page, course, view) {
  const { from, to, points: all, width, slots, eta, holds, isOver } = course;
  const most = Math.max(1, ...all.map(point => point.most)), roof = Math.ceil(Math.max(most, width ?? 0) * 1.14);
  const y = value => TOP + (FLIGHT - TOP) * (1 - value / roof), now = all.at(-1).flight;
  const steps = all.map(point => `H${view.x(point.at)}V${y(point.flight).toFixed(1)}`).join("");
  const area = `M${view.x(from)} ${y(0)}${steps}H${view.x(to)}V${y(0)}Z`;
  const end = eta ? [s("rect", { class: "end", x: view.x(eta.p50), width: Math.max(1, view.number(eta.p90) - view.number(eta.p50)), y: TOP, height: FLIGHT - TOP }),
    view.isNarrow ? null : s("text", { class: "endt", x: view.x(eta.p90), y: 12, "text-anchor": "end" }, "likely done")] : null;
  const shown = [...new Set([0, Math.round((width ?? most) / 2), width ?? most])];
  return h("section", { class: "panel", "aria-labelledby": "flight-heading" },
    h("div", { class: "row wrap" }, h("h2", { id: "flight-heading" }, "Sites in flight"), h("span", { class: "grow" }),
      h("div", { class: "keys" }, sign(s("rect", { class: "fly", width: 18, height: 10 }), "started"),
        width ? sign(s("path", { class: "width", d: "M0 5h18" }), `width ${num(width)}`) : null,
        slots ? sign(s("path", { class: "slots", d: "M0 5h18" }), `slots ${num(slots)}`) : null,
        holds.length ? sign(s("rect", { class: "hold", width: 18, height: 10 }), "held") : null)),
    h("p", { class: "readout", id: "readout", role: "status", "data-keep": "" }, page.own("timeline").reading || "Numbers above the curve are stages. Point at it, or use the arrow keys."),
    s("svg", {
      class: "chart", id: "chart", viewBox: `0 0 ${view.width} ${FLIGHT + 20}`, height: FLIGHT + 20, tabindex: "0", role: "img",
      "aria-label": `Sites in flight over time: now ${num(now)}${width ? ` of ${num(width)}` : ""}, at most ${num(most)}`,
    }, bands(course, view), axes(view, FLIGHT, shown, y), holds.map(hold => held(hold, to, view)), s("path", { class: "fly", d: area }),
    width ? s("path", { class: "width", d: `M${LEFT} ${y(width)}H${view.width - RIGHT}` }) : null,
    slots && slots <= roof ? s("path", { class: "slots", d: `M${LEFT} ${y(slots)}H${view.width - RIGHT}` }) : null, end,
    isOver ? null : [s("path", { class: "now", d: `M${view.x(to)} ${TOP}V${FLIGHT}` }), nowText(to, view)],
    s("path", { class: "cross", id: "cross", "data-keep": "" })));
}

function nowText(to, view) {
  const isRight = view.number(to) > view.width - 80;
  return s("text", { class: "nowt", x: view.number(to) + (isRight ? -4 : 4), y: 30, "text-anchor": isRight ? "end" : "start" }, `now ${hm(to)}`);
}

function held(hold, to, view) {
  const since = moment(hold.since), x = view.number(since);
  return s("g", null, s("rect", { class: "hold", x, width: Math.max(2, view.number(to) - x), y: TOP, height: FLIGHT - TOP }),
    s("title", null, `held since ${hm(since)}${hold.by ? ` by ${hold.by}` : ""}: ${hold.reason || hold.kind}`));
}

function bands({ stages: all, to }, view) {
  return all.filter(stage => stage.from != null).map((stage, i) => {
    const begin = view.number(stage.from), end = view.number(stage.ended === stage.sites ? stage.to ?? to : to), isWide = end - begin > 14;
    return s("g", null, i % 2 ? s("rect", { class: "band", x: begin, width: Math.max(1, end - begin), y: TOP, height: FLIGHT - TOP }) : null,
      isWide && (!view.isNarrow || i % 4 === 0) ? s("text", { x: (begin + end) / 2, y: 12, "text-anchor": "middle" }, stage.number) : null);
  });
}

function ended({ from, to, points: all, total, eta, isOver }, view) {
  const y = value => TOP + (ENDED - TOP) * (1 - value / total), last = all.at(-1);
  const line = key => `M${view.x(from)} ${y(0)}${all.map(point => `L${view.x(point.at)} ${y(point[key]).toFixed(1)}`).join("")}H${view.x(to)}`;
  const cone = eta ? [
    s("path", { class: "cone", d: `M${view.x(to)} ${y(last.ended)}L${view.x(eta.p50)} ${y(total)}L${view.x(eta.p90)} ${y(total)}Z` }),
    s("path", { class: "mid", d: `M${view.x(to)} ${y(last.ended)}L${view.x(eta.p50)} ${y(total)}` }),
    s("text", { class: "endt", x: view.x(eta.p90), y: y(total * 0.72), "text-anchor": "end" }, `${hm(eta.p50)} to ${hm(eta.p90)}`),
  ] : null;
  return h("section", { class: "panel", "aria-labelledby": "ended-heading" },
    h("div", { class: "row wrap" }, h("h2", { id: "ended-heading" }, eta ? "Ended sites and forecast" : "Ended sites"), h("span", { class: "grow" }),
      h("div", { class: "keys" }, sign(s("path", { class: "done", d: "M0 5h18" }), "ended"), sign(s("rect", { class: "failed", width: 18, height: 10 }), "failed"),
        eta ? sign(s("rect", { class: "cone", width: 18, height: 10 }), "likely range") : null)),
    s("svg", { class: "chart", viewBox: `0 0 ${view.width} ${ENDED + 20}`, height: ENDED + 20, role: "img", "aria-label": `${num(last.ended)} of ${plural(total, "site")} ended, ${num(last.failed)} failed` },
      axes(view, ENDED, [...new Set([0, Math.round(total / 2), total])], y), cone,
      s("path", { class: "failed", d: `${line("failed")}V${y(0)}Z` }), s("path", { class: "done", d: line("ended") }),
      isOver ? null : s("path", { class: "now", d: `M${view.x(to)} ${TOP}V${ENDED}` })));
}

function stages(page, { stages: all, to }) {
  const named = page.state.strategy.rollout?.stages || [], column = (word, cls) => h("th", { scope: "col", class: cls }, word);
  return h("section", { class: "panel", "aria-labelledby": "stages-heading" }, h("h2", { id: "stages-heading", class: "pad4" }, "Stages"),
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-labelledby": "stages-heading" }, h("table", { class: "fit" },
      h("thead", null, h("tr", null, ["Stage", "Sites", "Started", "Ended", "Took"].map(word => column(word, "num")), column("Group"), column("Failed", "num"), column("Last site to end"))),
      h("tbody", null, all.map(stage => {
        const isOver = stage.ended === stage.sites, isNow = stage.from != null && !isOver, groups = [...stage.groups];
        const title = named.find(one => one.stage === stage.number)?.name;
        return h("tr", { class: isNow ? "now" : null },
          h("td", { class: "num" }, isNow ? h("b", null, stage.number) : stage.number, title ? [" ", h("bdi", { class: "dim" }, title)] : null),
          h("td", { class: "num" }, num(stage.sites)), h("td", { class: "num" }, time(stage.from)),
          h("td", { class: "num" }, isOver ? time(stage.to) : isNow ? h("span", { class: "sub" }, `${num(stage.ended)} of ${num(stage.sites)}`) : "–"),
          h("td", { class: "num" }, stage.from == null ? "–" : span((isOver ? stage.to ?? stage.from : to) - stage.from)),
          h("td", null, groups.length > 2 ? `${num(groups.length)} groups` : groups.map((one, i) => [i ? ", " : "", h("bdi", null, one)])),
          h("td", { class: `num${stage.failed ? " bad" : ""}` }, stage.failed ? num(stage.failed) : "–"),
          h("td", null, isOver && stage.last ? [h("a", { href: siteAddress(stage.last.name) }, name(stage.last.name)),
            stage.last.startedAt == null ? null : h("span", { class: "dim" }, ` ${span(stage.last.endedAt - stage.last.startedAt)}`)] : ""));
      })))));
}

// -- the reading --------------------------------------------------------------------

function read(page, at) {
  const chart = document.getElementById("chart"), course = courseOf(page);
  if (!chart || !course) return;
  const own = page.own("timeline"), view = viewOf(page, course);
  own.cursor = Math.max(course.from, Math.min(course.to, at));
  const point = course.points.findLast(one => one.at <= own.cursor) || course.points[0];
  const stage = course.stages.find(one => one.from != null && one.from <= own.cursor && (one.ended < one.sites || one.to >= own.cursor));
  own.reading = `${view.clock(own.cursor)}  ${stage ? ` stage ${stage.number},` : ""} ${num(point.flight)} in flight${course.width ? ` of ${num(course.width)}` : ""}, ${num(point.ended)} ended, ${num(point.failed)} failed`;
  document.getElementById("readout").textContent = own.reading;
  document.getElementById("cross").setAttribute("d", `M${view.x(own.cursor)} ${TOP}V${FLIGHT}`);
}

/** Follow the pointer. */
export function rendered(page) {
  const chart = document.getElementById("chart");
  if (!chart || chart.dataset.followed) return;
  chart.dataset.followed = "1";
  chart.addEventListener("pointermove", event => {
    const course = courseOf(page), box = chart.getBoundingClientRect();
    if (!course) return;
    const { width, last } = viewOf(page, course), x = ((event.clientX - box.left) / box.width) * width;
    read(page, course.from + ((x - LEFT) / (width - LEFT - RIGHT)) * (last - course.from));
  });
}

/** Move the reading with the arrow keys. */
export function key(page, event) {
  if (event.target.id !== "chart" || !["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return false;
  const course = courseOf(page), step = (course.to - course.from) / 50, at = page.own("timeline").cursor ?? course.to;
  read(page, { ArrowLeft: at - step, ArrowRight: at + step, Home: course.from, End: course.to }[event.key]);
  return true;
}
