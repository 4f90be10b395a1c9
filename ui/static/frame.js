/** The frame of all panes: bar of tabs, state of the connection, banners. */

import { button, h, icon, logo, num, plural, span, time } from "./elements.js";
import { TABS } from "./routes.js";
import { holdSentence } from "./holds.js";

/** Return the bar at the top. @param {Page} page */
export function top(page) {
  const { state } = page, failed = state.strategy?.progress?.failed || 0;
  /** @type {Record<string, [count: number, what: string]>} */
  const counts = { problems: [failed, "failed"], health: [hasNoWorker(state) ? 1 : 0, "warning"] };
  /** @param {string[]} tab its id and its word */
  /** @param {string[]} tab id and label */
  const tab = ([id, label]) => {
    const [count, what] = counts[id] || [0, ""];
    const isCurrent = page.pane === id ? "page" : null;
    return h("a", { href: `#/${id}`, "aria-current": isCurrent }, label,
      count ? h("span", { class: "count", "aria-label": `${count} ${what}` }, num(count)) : null);
  };
  return h("div", { class: "topbar" },
    h("a", { class: "brand", href: "#/overview" }, logo(), "Prestager"),
    h("nav", { class: "nav", "aria-label": "Panes" }, TABS.map(tab)),
    h("span", { class: "grow" }),
    connection(state),
    button("", "theme", {
      icon: page.isDark ? "sun" : "moon", kind: "ghost icononly", title: page.isDark ? "Light theme" : "Dark theme",
      "aria-label": page.isDark ? "Light theme" : "Dark theme",
    }),
    state.me ? button(h("bdi", null, state.me.name), "logout", {
      icon: "user", kind: "ghost who", title: `${state.me.name}, ${state.me.roles.join(", ")}. Log out.`,
      "aria-label": `${state.me.name}, log out`,
    }) : null);
}

/** @param {State} state */
function connection(state) {
  const isOff = !state.isLive, word = state.connection === "loading" ? "Connecting" : isOff ? "Not live" : "Live";
  const title = isOff ? "The page shows the last state that it knows" : `Follows the event stream; last event ${state.lastId || 0}`;
  return h("span", { class: `conn${isOff ? " off" : ""}`, title }, h("i"), word,
    state.shownAt ? time(Math.floor(state.shownAt), true) : null);
}

/** Whether no worker has been seen lately. @param {State} state */
export function hasNoWorker(state) {
  if (!state.workers || !state.isLive) return false;
  return !state.workers.some(one => one.alive && one.roles.includes("worker"));
}

/** Return the banners, the most urgent first. @param {Page} page */
export function banners(page) {
  const { state } = page;
  const parts = [expired(state), lost(state), refused(state), back(state), noWorker(state), ...holds(page)];
  return h("div", null, parts);
}

/**
 * @param {string} kind
 * @param {string} sign
 * @param {Kid} body
 * @param {...Kid} acts
 */
function banner(kind, sign, body, ...acts) {
  const role = kind.includes("red") ? "alert" : null;
  return h("div", { class: `banner ${kind}`.trim(), role }, h("div", null, icon(sign), h("p", null, body), acts));
}

/** @param {State} state */
function expired(state) {
  if (state.connection !== "expired" || !state.me) return null;
  return banner("red", "key", [h("b", null, "Your session has ended. "), "The strategy goes on without you. The page shows how"
    + " things stood at ", time(state.shownAt, true), "."], button("Log in again", "login", { kind: "primary small" }));
}

/** @param {State} state */
function lost(state) {
  if (state.connection !== "lost") return null;
  const wait = state.retryAt ? Math.max(0, Math.ceil((state.retryAt - Date.now()) / 1000)) : 0;
  const since = state.lostAt ? [span(Date.now() / 1000 - state.lostAt), " ago. The page shows how things stood at ",
    time(state.shownAt, true), "; work at the sites goes on. "] : [". "];
  return banner("", "plug", [h("b", null, state.lostAt ? "Connection lost " : "No connection"), since,
    wait ? `Next try in ${wait} s.` : "Trying now."], button("Try now", "reconnect", { kind: "small" }));
}

/** @param {State} state */
function refused(state) {
  if (state.connection !== "failed") return null;
  return banner("red", "warn", [h("b", null, "The service refuses. "), state.error], button("Try again", "reconnect", { kind: "small" }));
}

/** @param {State} state */
function back(state) {
  if (!state.isLive || state.caughtUp == null) return null;
  const what = state.caughtUp ? `${plural(state.caughtUp, "change")} came meanwhile; nothing was missed.` : "Nothing was missed.";
  return banner("plain", "check", [h("b", null, "Connected again. "), what],
    button("", "dismiss", { kind: "ghost small icononly", icon: "cancel", "aria-label": "Dismiss" }));
}

/** @param {State} state */
function noWorker(state) {
  if (!hasNoWorker(state) || state.strategy?.state !== "applying") return null;
  const workers = (state.workers || []).filter(one => one.roles.includes("worker"));
  const ages = workers.map(one => one["last-seen-s"]), age = ages.length ? Math.min(...ages) : null;
  const { counts } = state;
  const busy = counts.precheck + counts.prepare + counts.packages + counts.images;
  return banner("red", "warn", [
    h("b", null, age == null ? "There is no worker. " : `No worker has been seen for ${span(age)}. `),
    `${plural(busy, "site")} at work cannot report, and ${num(counts.slot)} wait for a slot. What a lost worker had is queued`
      + " anew when its lease ends.",
  ], h("a", { class: "btn small", href: "#/health" }, "Look at workers"));
}

/** @param {Page} page */
function holds(page) {
  const { state } = page, { strategy } = state;
  if (!strategy) return [];
  return strategy.holds.map(hold => {
    const isBudget = hold.kind === "budget", isRed = isBudget || hold.kind === "prepare";
    const acts = [];
    if (isRed) acts.push(h("a", { class: "btn small", href: "#/problems" }, "See problems"));
    const isGate = hold.kind === "gate";
    const legal = strategy.commands || [], why = page.refusal || page.roleRefusal();
    if (isGate && legal.includes("approve")) {
      const not = why || approvalRefusal(state.me, hold);
      acts.push(button("Deny…", "deny", { kind: "small", why, data: { stage: hold.stage } }));
      acts.push(button("Approve…", "approve", { kind: not ? "small" : "small primary", icon: "check", why: not, data: { stage: hold.stage } }));
    } else if (hold.kind !== "soak" && !isGate && legal.includes("resume")) {
      acts.push(button(isBudget ? "Resume with allowance…" : "Resume…", "resume", { kind: "small", icon: "play", why }));
    }
    return banner(isRed ? "red" : "", "hold", holdSentence(strategy, hold), ...acts);
  });
}

/**
 * Why somebody may not approve at a gate; null: they may, or the service will say.
 * @param {Session?} me
 * @param {Api.Hold} hold
 * @returns {string?}
 */
function approvalRefusal(me, { approvers, barred }) {
  if (me && barred === me.name) return "you made this strategy, and somebody else has to approve";
  if (me && approvers?.length && !approvers.includes(me.name)) return `only ${approvers.join(", ")} may approve`;
  return null;
}

/** @type {Acts} */
export const acts = {
  theme: page => page.setTheme(page.isDark ? "light" : "dark"),
  reconnect: page => page.state.reconnect(),
  dismiss: page => {
    page.state.caughtUp = null;
    page.render();
  },
  login: () => void (location.hash = "#/login"),
  skip: () => document.getElementById("main")?.focus(),
};
