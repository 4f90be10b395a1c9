/** The charts of the timeline: sites in flight against width and slots, and ended sites with the forecast. */

import { h, hm, hms, moment, num, plural, s } from "../elements.js";

export const LEFT = 40, RIGHT = 12, TOP = 18, FLIGHT = 200;
const ENDED = 150;
// Seconds between the lines of the axis, of which the first is taken that leaves this room for its time, in pixels.
const TICKS = [10, 30, 60, 300, 900, 1800, 3600, 7200, 14400, 43200, 86400];
const TICK_ROOM = 64;

/**
 * Return the scale of the charts: width in pixels, and the place of a moment.
 * @param {Page} page
 * @param {Course} course
 */
export function viewOf(page, { from, to, eta }) {
  const last = Math.max(to + (to - from) * 0.02, eta?.p90 ?? 0), width = Math.max(280, page.width);
  /** @param {number} at */
  const x = at => LEFT + ((at - from) / (last - from)) * (width - LEFT - RIGHT);
  const every = TICKS.find(one => (width - LEFT - RIGHT) / ((last - from) / one) > TICK_ROOM) || 86400;
  const ticks = [];
  for (let at = Math.ceil(from / every) * every; at < last; at += every) ticks.push(at);
  return { width, last, x: /** @param {number} at */ at => x(at).toFixed(1), number: x, ticks, isNarrow: width < 560, clock: every < 60 ? hms : hm };
}

/**
 * @param {View} view
 * @param {number} height
 * @param {number[]} values
 * @param {(value: number) => number} y
 */
function axes(view, height, values, y) {
  return [
    values.map(value => [s("path", { class: "axis", d: `M${LEFT} ${y(value)}H${view.width - RIGHT}` }),
      s("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, num(value))]),
    view.ticks.map(at => [s("path", { class: "axis", d: `M${view.x(at)} ${TOP}V${height}` }),
      s("text", { x: view.x(at), y: height + 14, "text-anchor": "middle" }, view.clock(at))]),
  ];
}

/**
 * @param {Kid} shape
 * @param {Kid} text
 */
const sign = (shape, text) => h("span", null, s("svg", { width: 18, height: 10, class: "chart", style: { width: "18px" } }, shape), text);

/**
 * Return the chart of the sites in flight; it takes the focus, and `reading` stands above it.
 * @param {Course} course
 * @param {View} view
 * @param {string?} reading
 */
export function flight(course, view, reading) {
  const { from, to, points: all, width, slots, eta, holds, hasEnded } = course;
  const most = Math.max(1, ...all.map(point => point.flight)), roof = Math.ceil(Math.max(most, width ?? 0) * 1.14);
  /** @param {number} value */
  const y = value => TOP + (FLIGHT - TOP) * (1 - value / roof);
  const now = all[all.length - 1].flight;
  const corners = all.map(point => `L${view.x(point.at)} ${y(point.flight).toFixed(1)}`).join("");
  const area = `M${view.x(from)} ${y(0)}${corners}H${view.x(to)}V${y(0)}Z`;
  const end = eta ? [s("rect", { class: "end", x: view.x(eta.p50), width: Math.max(1, view.number(eta.p90) - view.number(eta.p50)), y: TOP, height: FLIGHT - TOP }),
    view.isNarrow ? null : s("text", { class: "endt", x: view.x(eta.p90), y: 12, "text-anchor": "end" }, "likely done")] : null;
  const shown = [...new Set([0, Math.round((width ?? most) / 2), width ?? most])];
  return h("section", { class: "panel", "aria-labelledby": "flight-heading" },
    h("div", { class: "row wrap" }, h("h2", { id: "flight-heading" }, "Sites in flight"), h("span", { class: "grow" }),
      h("div", { class: "keys" }, sign(s("rect", { class: "fly", width: 18, height: 10 }), "started"),
        width ? sign(s("path", { class: "width", d: "M0 5h18" }), `width ${num(width)}`) : null,
        slots ? sign(s("path", { class: "slots", d: "M0 5h18" }), `slots ${num(slots)}`) : null,
        holds.length ? sign(s("rect", { class: "hold", width: 18, height: 10 }), "held") : null)),
    h("p", { class: "readout", id: "readout", role: "status", "data-keep": "" }, reading || "Numbers above the curve are stages. Point at it, or use the arrow keys."),
    s("svg", {
      class: "chart", id: "chart", viewBox: `0 0 ${view.width} ${FLIGHT + 20}`, height: FLIGHT + 20, tabindex: "0", role: "img",
      "aria-label": `Sites in flight over time: now ${num(now)}${width ? ` of ${num(width)}` : ""}, at most ${num(most)}`,
    }, bands(course, view), axes(view, FLIGHT, shown, y), holds.map(hold => held(hold, to, view)), s("path", { class: "fly", d: area }),
    width ? s("path", { class: "width", d: `M${LEFT} ${y(width)}H${view.width - RIGHT}` }) : null,
    slots && slots <= roof ? s("path", { class: "slots", d: `M${LEFT} ${y(slots)}H${view.width - RIGHT}` }) : null, end,
    hasEnded ? null : [s("path", { class: "now", d: `M${view.x(to)} ${TOP}V${FLIGHT}` }), nowText(to, view)],
    s("path", { class: "cross", id: "cross", "data-keep": "" })));
}

/**
 * @param {number} to
 * @param {View} view
 */
function nowText(to, view) {
  const isRight = view.number(to) > view.width - 80;
  return s("text", { class: "nowt", x: view.number(to) + (isRight ? -4 : 4), y: 30, "text-anchor": isRight ? "end" : "start" }, `now ${hm(to)}`);
}

/**
 * @param {Api.SeriesHold} hold
 * @param {number} to
 * @param {View} view
 */
function held(hold, to, view) {
  const since = moment(hold.since) ?? 0, until = moment(hold["ended-at"]), x = view.number(since);
  return s("g", null, s("rect", { class: "hold", x, width: Math.max(2, view.number(until ?? to) - x), y: TOP, height: FLIGHT - TOP }),
    s("title", null, `held ${until == null ? "since" : "from"} ${hm(since)}${until == null ? "" : ` to ${hm(until)}`}${hold.by ? ` by ${hold.by}` : ""}: ${hold.reason || hold.kind}`));
}

/**
 * @param {Course} course
 * @param {View} view
 */
function bands({ stages: all, to }, view) {
  return all.filter(stage => stage.from != null).map((stage, i) => {
    const begin = view.number(stage.from ?? to), end = view.number(stage.to ?? to), isWide = end - begin > 14;
    return s("g", null, i % 2 ? s("rect", { class: "band", x: begin, width: Math.max(1, end - begin), y: TOP, height: FLIGHT - TOP }) : null,
      isWide && (!view.isNarrow || i % 4 === 0) ? s("text", { x: (begin + end) / 2, y: 12, "text-anchor": "middle" }, stage.number) : null);
  });
}

/**
 * Return the chart of the ended sites.
 * @param {Course} course
 * @param {View} view
 */
export function ended({ from, to, points: all, total, eta, hasEnded }, view) {
  /** @param {number} value */
  const y = value => TOP + (ENDED - TOP) * (1 - value / total);
  const last = all[all.length - 1];
  /** @param {"ended" | "failed"} key */
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
      hasEnded ? null : s("path", { class: "now", d: `M${view.x(to)} ${TOP}V${ENDED}` })));
}
