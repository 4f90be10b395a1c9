/** The pane of the health: workers and their slots, queues, what the service needs, and webhooks. */

import { ApiError, get, send } from "../api.js";
import { button, columns, glyph, h, moment, name, num, plural, span, time } from "../elements.js";
import { toast } from "../dialogs.js";
import { hasNoWorker } from "../frame.js";

// Between two looks, in milliseconds.
const LOOK_MS = 5_000;
const MOST_DRAWN_SLOTS = 64;

/** Return the elements of the pane. @param {Page} page */
export function render(page) {
  const { state } = page, own = page.own("health"), workers = state.workers || [];
  return h("div", { "data-key": "health" },
    h("div", { class: "headline" }, h("h1", null, "Health"), h("span", { class: "facts" }, sum(page, own, workers))),
    own.error ? h("p", { class: "err", role: "alert", dir: "auto" }, own.error) : null,
    processes(state, workers), queues(own), h("div", { class: "two-col" }, parts(own), webhooks(page, own)));
}

/**
 * @param {boolean} isGood
 * @param {Kid} text
 */
const ok = (isGood, text) => h("span", { class: isGood ? "yes" : "nok" }, text);

/**
 * @param {Page} page
 * @param {Own["health"]} own
 * @param {Api.Worker[]} workers
 */
function sum(page, own, workers) {
  if (!page.state.workers) return "Loading…";
  const versions = [...new Set(workers.filter(one => one.alive).map(one => one.version))];
  const { checks = {}, "dead-letters": dead } = own.health || {};
  const failing = [...Object.keys(checks).filter(check => checks[check]), ...(dead ? ["dead letters"] : []), ...(own.health?.webhooks || []).filter(one => one["failing-since"]).map(one => `webhook ${one.name}`)];
  const words = hasNoWorker(page.state) ? h("b", { class: "bad" }, "No worker is there")
    : failing.length ? h("b", { class: "bad" }, `${failing.length === 1 ? "This needs care" : `${num(failing.length)} things need care`}: ${failing.join(", ")}`) : "Work has all that it needs";
  return [words, versions.length ? [" · Prestager ", h("bdi", null, versions.join(", ")), versions.length > 1 ? h("span", { class: "bad" }, " (versions differ)") : null] : null];
}

// -- processes -------------------------------------------------------------------------

/**
 * @param {State} state
 * @param {Api.Worker[]} all
 */
function processes({ workers }, all) {
  const sorted = [...all].sort((a, b) => Number(b.alive) - Number(a.alive) || a.name.localeCompare(b.name));
  return h("section", { class: "block", "aria-labelledby": "workers-heading" }, h("h2", { id: "workers-heading" }, "Workers and other processes"),
    !workers ? h("p", { class: "sub" }, "Loading…") : !all.length ? h("p", { class: "sub pad" }, "None has reported itself within a day.")
      : h("div", { class: "scroll" }, h("table", { class: "stack" },
        columns([["Name"], ["State"], ["Host"], ["Slots"], [""], ["Does"], ["Releases"], ["Last seen", "num"]]), h("tbody", null, sorted.map(row)))));
}

/** @param {Api.Worker} one */
function row(one) {
  const { slots, running } = one, isWorker = one.roles.includes("worker");
  return h("tr", { "data-key": one.id },
    h("td", null, name(one.name)), h("td", { class: "nowrap" }, stateOf(one)), h("td", { class: "mono" }, h("bdi", null, one.host)),
    h("td", { class: "num nowrap", "data-l": isWorker ? "slots" : null }, slots ? `${num(running || 0)} of ${num(slots)}` : "–"),
    h("td", null, slots && slots <= MOST_DRAWN_SLOTS ? h("span", { class: "slots", "aria-hidden": "true" }, Array.from({ length: slots }, (_, i) => h("i", { class: i < (running || 0) ? "on" : null }))) : null),
    h("td", { class: "sub" }, one.roles.join(", ")), h("td", { class: "sub", title: (one.releases || []).join(", ") }, releases(one)),
    h("td", { class: `num${one.alive ? "" : " bad"}`, "data-l": "seen" }, `${span(one["last-seen-s"])} ago`));
}

/** @param {Api.Worker} one */
function stateOf(one) {
  if (!one.alive) return ok(false, "lost");
  if (one["playbooks-error"]) return h("span", { class: "nok", title: one["playbooks-error"] }, "playbooks do not load");
  if (one.draining) return h("span", { class: "st t-held" }, glyph("held", 14), "drains");
  return ok(true, one.running ? "at work" : "free");
}

/** @param {Api.Worker} worker */
function releases({ releases: all }) {
  if (!all) return "–";
  return all.length > 3 ? `${all.slice(0, 3).join(", ")} and ${num(all.length - 3)} more` : all.join(", ") || "none";
}

// -- parts ------------------------------------------------------------------------------

/** @param {Own["health"]} own */
function parts({ health, looked }) {
  if (!health) return h("section", { class: "block", "aria-labelledby": "parts-heading" }, h("h2", { id: "parts-heading" }, "What the service needs"), h("p", { class: "sub pad" }, "Loading…"));
  const { "dead-letters": dead } = health;
  return h("section", { class: "block", "aria-labelledby": "parts-heading" }, h("h2", { id: "parts-heading" }, "What the service needs"),
    h("table", null, h("tbody", null, Object.entries(health.checks).map(([check, text]) => h("tr", null, h("td", null, check), h("td", { class: "text", dir: "auto" }, ok(!text, text || "good")))),
      dead == null ? null : h("tr", null, h("td", null, "dead letters"), h("td", { class: "text" }, ok(!dead, dead ? `${plural(dead, "message")} that nobody could work on: prestager dead-letters list` : "none"))))),
    h("p", { class: "dim pad" }, "As one process of the API sees it, at ", time(looked, true), "."));
}

/** @param {Own["health"]} own */
function queues({ health }) {
  if (!health) return null;
  const all = health.queues, missing = health["queues-missing"];
  return h("section", { class: "block", "aria-labelledby": "queues-heading" }, h("h2", { id: "queues-heading" }, "Queues"),
    missing ? h("p", { class: "sub pad", dir: "auto" }, missing) : h("div", { class: "scroll" }, h("table", { class: "stack" }, columns([["Queue"], ["Ready", "num"], ["Consumers", "num"], ["Free slots", "num"], ["Meaning"]]),
      h("tbody", null, all.map(one => h("tr", { "data-key": one.name }, h("td", null, name(one.name)), h("td", { class: "num", "data-l": "ready" }, num(one.ready)), h("td", { class: "num", "data-l": "consumers" }, num(one.consumers)),
        h("td", { class: "num", "data-l": "free slots" }, one.slots ? `${num(one["free-slots"])} of ${num(one.slots)}` : "–"), h("td", { class: "text", dir: "auto" }, one.meaning)))))));
}

// -- webhooks ---------------------------------------------------------------------------

/**
 * @param {Page} page
 * @param {Own["health"]} own
 */
function webhooks(page, { health, webhooks: found }) {
  const refused = page.roleRefusal(), all = /** @type {Api.CountedWebhook[] | undefined} */ (refused ? health?.webhooks : found);
  return h("section", { class: "block", "aria-labelledby": "webhooks-heading" }, h("h2", { id: "webhooks-heading" }, "Webhooks"),
    !all ? h("p", { class: "sub pad" }, "Loading…") : !all.length ? h("p", { class: "sub pad" }, "There is none. A webhook tells other programs what happens.")
      : h("div", { class: "scroll" }, h("table", { class: "stack" }, columns(refused ? [["Name"], ["State"]] : [["Name"], ["State"], ["Receiver"], ["Waiting", "num"], [""]]),
        h("tbody", null, all.map(one => h("tr", { "data-key": one.name }, h("td", null, name(one.name)), h("td", { class: "text" }, delivery(one)), refused ? null : address(page, one)))))),
    refused && all?.length ? h("p", { class: "dim pad" }, "An address may hold a secret: admin and configurator alone see it.") : null);
}

/**
 * @param {Page} page
 * @param {Api.CountedWebhook} one
 */
function address(page, one) {
  return [h("td", { class: "mono text" }, h("bdi", null, one.url)), h("td", { class: "num", "data-l": "waiting" }, num(one["open-deliveries"])),
    h("td", { class: "num" }, button("Ping", "ping", { kind: "small", data: { name: one.name }, why: page.refusal, "aria-label": `Ping ${one.name}` }))];
}

/** @param {Api.WebhookState} one */
function delivery(one) {
  if (!one.enabled) return ok(false, `off${one["disabled-reason"] ? `: ${one["disabled-reason"]}` : ""}`);
  return one["failing-since"] ? h("span", { class: "nok" }, "fails since ", time(moment(one["failing-since"]))) : ok(true, "delivers");
}

// -- what is read -----------------------------------------------------------------------

/** Look now, and every few seconds while the pane is shown. @param {Page} page */
export function enter(page) {
  const own = page.own("health");
  clearInterval(own.timer);
  own.timer = setInterval(() => (page.pane === "health" ? document.hidden || void look(page) : clearInterval(own.timer)), LOOK_MS);
  void look(page);
}

/** @param {Page} page */
async function look(page) {
  const own = page.own("health"), { state } = page;
  if (own.isLooking || !state.me || page.refusal) return;
  own.isLooking = true;
  try {
    const [health, found, workers] = await Promise.all([get("/health"), page.roleRefusal() ? null : get("/webhooks"), get("/workers")]);
    Object.assign(own, { health, webhooks: found?.webhooks, error: "", looked: Math.floor(Date.now() / 1000) });
    state.workers = workers.workers;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    own.error = error.message;
  } finally {
    own.isLooking = false;
  }
  if (page.pane === "health") page.render();
}

/** Look again once somebody has logged in. @param {Page} page */
export function rendered(page) {
  const own = page.own("health");
  if (!own.looked && !own.isLooking && !own.error && page.state.isLive) void look(page);
}

/** @type {Acts} */
export const acts = {
  async ping(page, { name: webhook }) {
    await send("POST", `/webhooks/${encodeURIComponent(webhook || "")}/ping`);
    toast(`A ping is on its way to ${webhook}.`);
    await look(page);
  },
};
