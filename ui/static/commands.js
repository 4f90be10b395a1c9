/** Commands of the page: the dialog that asks before each, what it touches, and what is sent. */

import { ApiError, sealed, send } from "./api.js";
import { h, name, num, plural } from "./elements.js";
import { ask, body, confirmation, copyText, field, input, line, option, some, toast, touched } from "./dialogs.js";
import { keyList } from "./keys.js";
import { isInFlight, isOver, isRunning } from "./sites.js";

const STRATEGY = "/sw-update-strategy";
// Commands for single sites that are under way at once.
const AT_ONCE = 6;

/**
 * Send a command about the strategy, then read what it changed.
 * @param {Page} page
 * @param {string} method
 * @param {string} path
 * @param {object | undefined} content
 * @param {string?} [said]
 */
async function command(page, method, path, content, said) {
  const answer = await send(method, path, content);
  await page.state.refreshNow();
  page.refilter();
  if (said) toast(said);
  return answer;
}

/**
 * @param {Page} page
 * @param {object} content
 * @param {string} said
 */
const act = (page, content, said) => command(page, "POST", `${STRATEGY}/actions`, content, said);

// -- the strategy ------------------------------------------------------------------

/** @param {Page} page */
function pause(page) {
  const { id, progress } = page.state.active, inFlight = progress.running + progress.preparing + progress.queued + progress.parked;
  ask(`Pause strategy ${id}`, body(
    field("Why", input("text", "reason", { maxlength: 200, autofocus: true, placeholder: "others see it in the banner and the audit" })),
    h("div", { class: "stack8" },
      option("scope", "starts", "Start no further site", `${plural(inFlight, "site")} in flight go on to their end`, true),
      option("scope", "phases", "Start no further phase either", `${num(progress.queued)} that wait for a slot are parked now, ${num(progress.running)} at work when their phase ends`))),
  "Pause", form => {
    const why = form.reason.value.trim();
    if (!why) return "Please say why: whoever comes next sees it.";
    return act(page, { action: "pause", reason: why, scope: form.scope.value }, `Strategy ${id} is held.`).then(() => {});
  });
}

/** @param {Page} page */
function resume(page) {
  const { id, holds, progress } = page.state.active, isBudget = holds.some(hold => hold.kind === "budget");
  const isLogin = page.state.problems.some(one => one.class === "login");
  ask(isBudget ? "Resume with an allowance" : `Resume strategy ${id}`, body(
    touched(progress.failed ? line("failed", `${plural(progress.failed, "site")} failed. `, h("a", { href: "#/problems" }, "See why")) : null,
      line("waiting", `${plural(progress["not-started"], "site")} not started, ${num(progress.parked)} parked.`)),
    isBudget ? field("Further failures to allow", input("number", "allowed", { value: Math.max(1, Math.round(progress.total / 200)), min: 0, max: progress.total, autofocus: true }),
      `The budget counts from now: ${num(progress.failed)} plus this many. At the next failure beyond it the strategy is held again.`) : null,
    field("Another password of the sites (sysadmin)", input("password", "password"), isLogin ? "Some sites refused the one of this strategy. Empty: it stays." : "Empty: it stays.")),
  "Resume", form => {
    /** @type {Record<string, any>} */
    const content = { action: "resume" };
    if (isBudget) {
      if (!/^\d+$/.test(form.allowed.value.trim())) return "Give a whole number of further failures.";
      content["allow-failures"] = Number(form.allowed.value);
    }
    if (form.password.value) content.sysadmin_password = sealed(form.password.value);
    return act(page, content, `Strategy ${id} goes on.`).then(() => {});
  });
}

/** @param {Page} page */
function limits(page) {
  const strategy = page.state.active, isWindow = strategy.rollout?.mode === "window", failures = strategy.rollout?.["max-failures"];
  ask(`Limits of strategy ${strategy.id}`, body(h("div", { class: "two" },
    isWindow ? field("Sites at once", input("number", "width", { value: strategy["max-parallel-subclouds"] ?? "", min: 1, max: 500 }), "Less takes effect by starting fewer.")
      : field("Sites at once", input("number", "width", { disabled: true }), "The width of stages is settled when the strategy is made."),
    field("Failures allowed", input("text", "failures", { value: failures ?? "" }), `A number, or a part such as 5%. ${num(strategy.progress.failed)} have failed.`))),
  "Change", form => {
    const content = {}, width = form.width.value.trim(), wanted = form.failures.value.trim();
    if (isWindow && width && Number(width) !== strategy["max-parallel-subclouds"]) content["max-parallel-subclouds"] = Number(width);
    if (wanted !== String(failures ?? "")) content.rollout = { "max-failures": wanted === "" ? null : /^\d+$/.test(wanted) ? Number(wanted) : wanted };
    if (!Object.keys(content).length) return "Nothing was changed.";
    return command(page, "PATCH", STRATEGY, content, "Limits changed.").then(() => {});
  });
}

/** @param {Page} page */
function apply(page) {
  const { id, progress } = page.state.active;
  ask(`Apply strategy ${id}`, touched(line("precheck", h("b", null, plural(progress.total, "site")), " are worked on, stage by stage."),
    line("waiting", "It can be paused, aborted and cancelled at any time.")), "Apply",
  () => act(page, { action: "apply" }, `Strategy ${id} has begun.`).then(() => {}));
}

/** @param {Page} page */
function abort(page) {
  const { sites, active: strategy } = page.state, inFlight = sites.filter(isInFlight).length;
  const open = sites.filter(site => site.startedAt == null && ["waiting", "held"].includes(site.state)).length;
  const ended = sites.length - inFlight - open;
  ask(`Abort strategy ${strategy.id}?`, body(
    touched(line("packages", h("b", null, `${plural(inFlight, "site")} in flight`), " go on through all their phases."),
      line("aborted", h("b", null, `${plural(open, "site")} not started`), " are aborted now."),
      line("complete", `${plural(ended, "site")} that have ended stay as they are.`)),
    h("p", { class: "sub" }, "This cannot be taken back. What is left can be retried later, as a new strategy."),
    confirmation(strategy.id)),
  `Abort ${plural(open, "site")}`, form => {
    if (form.confirmed.value.trim() !== String(strategy.id)) return `Type ${strategy.id}, the number of the strategy.`;
    return act(page, { action: "abort" }, "Abort requested; sites in flight go on.").then(() => {});
  }, { kind: "danger", no: "Keep going" });
}

/** @param {Page} page */
function cancelAll(page) {
  const { sites, active: strategy } = page.state, inFlight = sites.filter(isInFlight), busy = inFlight.filter(isRunning);
  const open = sites.filter(site => site.startedAt == null && ["waiting", "held"].includes(site.state)).length;
  ask(`Cancel strategy ${strategy.id}?`, body(
    touched(line("images", h("b", null, `${plural(inFlight.length, "site")} in flight`), " are stopped", busy.length ? [": ", some(busy.map(site => site.name))] : "."),
      line("aborted", h("b", null, `${plural(open, "site")} not started`), " are aborted."),
      line("complete", `${plural(sites.length - inFlight.length - open, "site")} that have ended stay as they are.`)),
    field("Seconds to end by themselves", input("number", "grace", { value: 30, min: 0, max: 600 }), "A playbook in its critical section gets up to 600 s."),
    confirmation(strategy.id)),
  `Cancel ${plural(inFlight.length + open, "site")}`, form => {
    if (form.confirmed.value.trim() !== String(strategy.id)) return `Type ${strategy.id}, the number of the strategy.`;
    return act(page, { action: "cancel", "grace-s": Number(form.grace.value) }, `Strategy ${strategy.id} is cancelled.`).then(() => {});
  }, { kind: "danger", no: "Keep going" });
}

/** @param {Page} page */
function remove(page) {
  const { id, progress } = page.state.active;
  ask(`Delete strategy ${id}?`, touched(line("complete", "It makes room for another strategy, and stays in the history with its logs."),
    progress.failed ? line("failed", `${plural(progress.failed, "site")} failed; they can be retried from the history as well.`) : null), "Delete",
  () => command(page, "DELETE", STRATEGY, undefined, `Strategy ${id} is in the history.`).then(() => {}));
}

/**
 * @param {Page} page
 * @param {{stage?: string}} data
 * @param {"approve" | "deny"} action
 */
function judge(page, { stage }, action) {
  const isDenial = action === "deny", { rollout } = page.state.active;
  const label = rollout?.stages?.find((/** @type {ShownStage} */ one) => String(one.stage) === stage || one.name === stage)?.name || stage;
  ask(isDenial ? ["Deny the next stage after ", name(label), "?"] : ["Approve the next stage after ", name(label)], body(
    touched(isDenial ? line("aborted", "The strategy is aborted: no further site starts.") : line("waiting", "The next stage starts.")),
    field("Note", input("text", "note", { maxlength: 200, autofocus: true, placeholder: "others see it in the audit" }))),
  isDenial ? "Deny" : "Approve", form => {
    const note = form.note.value.trim();
    if (isDenial && !note) return "Please say why.";
    return act(page, { action, stage: label, note }, isDenial ? "Denied; the strategy is aborted." : "Approved.").then(() => {});
  }, isDenial ? { kind: "danger" } : {});
}

// -- retry ------------------------------------------------------------------------

/**
 * @param {Page} page
 * @param {{problem?: string, site?: string}} data
 */
function retry(page, { problem, site }) {
  const { active: strategy, problems, sites } = page.state, hasEnded = isOver(strategy);
  const cause = problems.find(one => one.id === problem);
  /** @param {Site} one */
  const wanted = one => (site ? one.name === site : problem ? one.problem === problem : hasEnded ? !["complete", "skipped"].includes(one.state) : one.state === "failed" || one.step.outcome === "cancelled");
  const list = sites.filter(wanted).map(one => one.name);
  if (!list.length) return toast("There is no such site any more.");
  const title = list.length === 1 ? ["Retry ", name(list[0])] : `Retry ${plural(list.length, "site")}`;
  const what = cause ? [h("b", null, `${cause.class} in ${cause.phase}`), h("br")] : null;
  if (hasEnded) {
    const content = problem ? { problem } : list.length === 1 ? { clouds: list } : {};
    retryEnded(page, {
      id: strategy.id, title, what: [what, some(list)], which: list.length === 1 ? "this site" : "these sites", content,
      note: cause?.class === "login" ? "They refused the one of before: give another." : null, then: () => page.act("close"),
    });
  } else retryRunning(page, title, list, what, cause);
}

/**
 * Ask for the password, and make a strategy of sites of one that has ended.
 * @param {Page} page
 * @param {Retry} about
 */
export function retryEnded(page, { id, title, what, which, content = {}, note = null, then }) {
  ask(title, body(
    touched(what ? line("failed", what) : null, line("waiting", `A new strategy with ${which}; strategy ${id} stays in the history, with a link to it.`),
      line("packages", "Packages that are proved are passed, unless they begin anew.")),
    field("Password of the sites (sysadmin)", input("password", "password", { autofocus: true }), note),
    h("label", { class: "check" }, h("input", { type: "checkbox", name: "anew" }), h("span", null, "Begin from the start, pass nothing")),
    h("label", { class: "check" }, h("input", { type: "checkbox", name: "begin", checked: true }), h("span", null, "Start at once"))),
  "Retry", async form => {
    if (!form.password.value) return "The password is needed: it was wiped when the strategy ended.";
    const begun = form.anew.checked ? { from: "start" } : {};
    const request = { ...content, ...begun, sysadmin_password: sealed(form.password.value), apply: form.begin.checked };
    const made = await command(page, "POST", `/strategies/${id}/retry`, request, null);
    toast(`Strategy ${made?.id ?? ""} was made${form.begin.checked ? " and has begun" : ""}.`);
    then();
  });
}

/**
 * @param {Page} page
 * @param {Kid} title
 * @param {string[]} list
 * @param {Kid} what
 * @param {Api.Problem | undefined} cause
 */
function retryRunning(page, title, list, what, cause) {
  const strategy = page.state.active, isRefused = cause?.class === "login" || cause?.class === "privilege";
  ask(title, body(
    touched(line("failed", what, some(list)),
      line("packages", "Each begins with the precheck, then goes on where it failed. Packages that are proved are passed."),
      line("slot", `They take their places; ${plural(strategy.progress["not-started"], "site")} not started wait as before.`)),
    isRefused ? field("Another password of the sites (sysadmin)", input("password", "password", { autofocus: true }), "These sites refused the one of this strategy. It is taken for all sites that are still to come.")
      : h("p", { class: "dim" }, "The password of the strategy is used. Another one can be given with Resume.")),
  list.length === 1 ? "Retry" : `Retry ${plural(list.length, "site")}`, async form => {
    const password = form.password?.value || "";
    if (isRefused && !password) return "These sites refused the password of the strategy: give another.";
    if (password) await replacePassword(page, password);
    const refused = await each(list, (/** @type {string} */ one) => send("POST", `${STRATEGY}/steps/${encodeURIComponent(one)}/retry`));
    await page.state.refreshNow();
    page.refilter();
    if (refused.length === list.length) return refused[0].message;
    toast(`${plural(list.length - refused.length, "site")} ${list.length - refused.length === 1 ? "is" : "are"} tried again${refused.length ? `; ${num(refused.length)} refused: ${refused[0].message}` : "."}`);
  });
}

/**
 * A new password comes with a resume alone, and a resume needs a hold.
 * @param {Page} page
 * @param {string} password
 */
async function replacePassword(page, password) {
  const actions = `${STRATEGY}/actions`, { commands } = page.state.active;
  if (!commands.includes("resume")) await send("POST", actions, { action: "pause", reason: "another password of the sites", scope: "starts" });
  await send("POST", actions, { action: "resume", sysadmin_password: sealed(password) });
}

/**
 * Do something for each of a list, a few at once; return the errors.
 * @param {string[]} list
 * @param {(one: string) => Promise<unknown>} action
 */
async function each(list, action) {
  const left = [...list];
  /** @type {ApiError[]} */
  const errors = [];
  const work = async () => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) {
      try {
        await action(one);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        errors.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return errors;
}

// -- one site ---------------------------------------------------------------------

/**
 * @param {Page} page
 * @param {{site?: string}} data
 */
function cancelSite(page, { site: wanted }) {
  const site = page.state.index.get(wanted || "");
  if (!site) return;
  ask(["Cancel ", name(site.name), "?"], body(
    touched(line(site.state, isRunning(site) ? `A playbook works on it in ${site.step.state}; it is stopped.` : "Its work is stopped."),
      line("aborted", "It ends as aborted and can be retried; the other sites go on.")),
    field("Seconds to end by itself", input("number", "grace", { value: 30, min: 0, max: 600 }))),
  "Cancel this site", form => command(page, "POST", `${STRATEGY}/steps/${encodeURIComponent(site.name)}/cancel`, { "grace-s": Number(form.grace.value) },
    `${site.name} is cancelled.`).then(() => {}), { kind: "danger", no: "Keep going" });
}

/**
 * @param {Page} page
 * @param {{site?: string}} data
 */
function holdSite(page, { site: wanted }) {
  const site = page.state.index.get(wanted || "");
  if (!site) return;
  ask(["Hold ", name(site.name)], body(touched(line("held", "It begins no further phase until it is released; the other sites go on.")),
    field("Why", input("text", "reason", { maxlength: 200, autofocus: true, placeholder: "others see it" }))),
  "Hold", form => {
    const why = form.reason.value.trim();
    if (!why) return "Please say why: whoever comes next sees it.";
    return changeSite(page, site.name, { held: true, reason: why }, `${site.name} is held.`).then(() => {});
  });
}

/**
 * @param {Page} page
 * @param {string} site
 * @param {object} content
 * @param {string} said
 */
const changeSite = (page, site, content, said) => command(page, "PATCH", `${STRATEGY}/steps/${encodeURIComponent(site)}`, content, said);

/** @type {Acts} */
export const acts = {
  nothing: () => {},
  closeDialog: (page, data, element) => element.closest("dialog").close(),
  keys: () => ask("Keys", keyList(), null, null, { no: "Close" }),
  pause,
  resume,
  limits,
  apply,
  abort,
  cancelAll,
  remove,
  retry,
  approve: (page, data) => judge(page, data, "approve"),
  deny: (page, data) => judge(page, data, "deny"),
  holdSite,
  cancelSite,
  releaseSite: (page, { site }) => changeSite(page, site || "", { held: false }, `${site} is released.`),
  firstSite: (page, { site }) => changeSite(page, site || "", { first: true }, `${site} is put first.`),
  async logout(page) {
    await send("DELETE", "/ui/session");
    page.state.restart();
    location.hash = "#/login";
  },
  async copy(page, { text, said }) {
    await copyText(text || "");
    toast(said || "Copied.");
  },
};
