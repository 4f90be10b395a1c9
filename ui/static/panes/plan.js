/** The pane of the plan: a form, what would come of it, and the creation. Nothing is stored before. */

import { ApiError, call, get, sealed, send } from "../api.js";
import { button, field as labelled, h, icon, name, num, plural, span } from "../elements.js";
import { toast } from "../dialogs.js";
import { EMPTY, missingIn, requestOf } from "../plan_request.js";

const STRATEGY = "/sw-update-strategy";
// How long nobody types before the preview is asked for, in milliseconds.
const PAUSE_MS = 350;
const MOST_STAGES = 12;
const MOST_NAMES = 3;

/** @param {Page} page */
const ownOf = page => {
  const own = page.own("plan");
  own.form ||= { ...EMPTY };
  return own;
};

/** Return the elements of the pane. @param {Page} page */
export function render(page) {
  const own = ownOf(page);
  return h("div", { "data-key": "plan" },
    h("div", { class: "headline" }, h("h1", null, "Plan"), h("span", { class: "facts" }, "The preview follows what you choose; nothing is stored before you create it.")),
    h("div", { class: "plan" }, formOf(page, own),
      h("section", { class: "prev", id: "preview", "aria-label": "Preview", "aria-busy": String(Boolean(own.isAsking)) }, preview(page, own))));
}

// -- form -------------------------------------------------------------------------------

/**
 * @param {Kid} label
 * @param {HTMLElement} input
 * @param {Kid} [note]
 */
const field = (label, input, note) => labelled("plan", label, input, note);

/**
 * @param {Page} page
 * @param {Own["plan"]} own
 */
function formOf(page, { form, groups = [], releases = [] }) {
  /**
   * @param {keyof PlanForm} key
   * @param {Props} [more]
   */
  const text = (key, more = {}) => h("input", { type: "text", "data-field": key, value: form[key], autocomplete: "off", autocapitalize: "none", spellcheck: "false", ...more });
  /**
   * @param {keyof PlanForm} key
   * @param {[value: string, label: string][]} options
   */
  const menu = (key, options) => h("select", { "data-field": key }, options.map(([value, label]) => h("option", { value, selected: form[key] === value }, label)));
  /**
   * @param {keyof PlanForm} key
   * @param {Kid} label
   * @param {Kid} [note]
   */
  const tick = (key, label, note) => h("label", { class: "check" }, h("input", { type: "checkbox", "data-field": key, checked: form[key] }), h("span", null, label, note ? h("small", { class: "dim" }, ` ${note}`) : null));
  /**
   * @param {string} key
   * @param {Kid} label
   */
  const password = (key, label) => field(label, h("input", { type: "password", name: key, autocomplete: "new-password", "aria-describedby": "password-note create-error" }));
  return h("form", { id: "planform", "data-submit": "create" },
    h("fieldset", null, h("legend", null, "What and where"),
      h("div", { class: "two" },
        field("Release", menu("release", [["", "The controller's own"], ...releases.map(one => /** @type {[string, string]} */ ([one.release, one["has-feed"] ? one.release : `${one.release} (no package feed)`]))])),
        field("For", menu("purpose", [["install", "an install"], ["deploy", "a software deploy"]]))),
      field("Sites", menu("target", [["fleet", "Whole fleet"], ["group", "One group"], ["selector", "By labels"], ["names", "By names"]])),
      target(form, groups, text),
      field("Left out, by name", text("leftNames", { placeholder: "edge-0007, edge-0012" })),
      field("Left out, by labels", text("leftSelector", { placeholder: "tier=gold" }), "All terms must hold: region=eu,tier!=gold,!old")),
    h("fieldset", null, h("legend", null, "In which order"),
      h("div", { class: "two" },
        field("Sites at once", text("width", { inputmode: "numeric", placeholder: "as groups say" }), slotsNote(page.state.workers)),
        field("Mode", menu("mode", [["stages", "Stage by stage"], ["window", "Sliding window"]]))),
      form.mode === "window" ? windowFields(form, text, menu, tick) : null),
    h("fieldset", null, h("legend", null, "When it goes wrong"),
      h("div", { class: "two" }, field("Failures allowed", text("failures", { placeholder: "any" }), "A number, or a part such as 5%"),
        field("Beyond that", menu("beyond", [["pause", "Pause and ask"], ["stop", "Stop"]]))),
      tick("alarms", "Prestage in spite of alarms", "that affect management")),
    h("fieldset", null, h("legend", null, "Password of the sites"),
      h("div", { class: "two" }, password("password", "sysadmin"), password("again", "Once more")),
      h("small", { class: "dim", id: "password-note" }, "Sealed at once, opened only for a run, wiped when the strategy ends.")));
}

/**
 * @param {PlanForm} form
 * @param {Api.CountedGroup[]} groups
 * @param {FormText} text
 */
function target(form, groups, text) {
  if (form.target === "group") {
    return field("Group", h("select", { "data-field": "group" }, h("option", { value: "" }, "Choose one"),
      groups.map(one => h("option", { value: one.name, selected: form.group === one.name }, `${one.name} (${plural(one.subcloud_count, "site")})`))));
  }
  if (form.target === "selector") return field("Labels", text("selector", { placeholder: "region=eu,tier!=gold,!old" }));
  if (form.target === "names") return field("Names", text("names", { placeholder: "edge-0001 edge-0002" }), "With commas or spaces between them; what cannot be prestaged is left out");
  return null;
}

/**
 * @param {PlanForm} form
 * @param {FormText} text
 * @param {FormMenu} menu
 * @param {(key: keyof PlanForm, label: Kid) => HTMLElement} tick
 */
function windowFields(form, text, menu, tick) {
  return [
    field("Order", menu("order", [["by-id", "As the inventory has them"], ["longest-first", "Those that take longest first"]])),
    h("div", { class: "two" }, field("Canaries first", text("canaries", { inputmode: "numeric", placeholder: "none" })),
      field("Then wait, minutes", text("soak", { inputmode: "numeric", placeholder: "0" }))),
    tick("gate", "Somebody approves after the canaries"),
  ];
}

/** @param {Api.Worker[]?} workers */
function slotsNote(workers) {
  const slots = (workers || []).filter(one => one.alive).reduce((all, one) => all + (one.slots || 0), 0);
  return slots ? `${num(slots)} slots are there` : null;
}

// -- preview ----------------------------------------------------------------------------

/**
 * @param {Page} page
 * @param {Own["plan"]} own
 */
function preview(page, own) {
  const { found, fault, form } = own, missing = missingIn(form);
  if (missing) return [h("p", { class: "answer" }, "–"), h("p", { class: "sub" }, missing)];
  if (fault) return [h("p", { class: "answer" }, "No preview"), h("ul", { class: "warns" }, warning("refuse", fault)), creation(page, own, "see above")];
  if (!found) return h("p", { class: "sub" }, "Asking…");
  const { refusals, warnings } = found, notes = refusals.length + warnings.length;
  return [
    h("div", null, h("p", { class: "answer" }, `${plural(found.sites, "site")} in ${plural(found.stages.length, "stage")}`),
      h("p", { class: "sub" }, "Release ", h("bdi", { class: "mono" }, found.release), found["max-parallel-subclouds"] ? `, at most ${num(found["max-parallel-subclouds"])} at once` : "", found.rollout.mode === "window" ? ", as a sliding window" : ""),
      h("p", { class: "sub" }, duration(found))),
    h("section", null, heading("Refusals and warnings", notes ? num(notes) : "none"),
      h("ul", { class: "warns" }, refusals.map(text => warning("refuse", text)), warnings.map(text => warning("", text))), room(page, refusals)),
    h("section", null, heading("Stages", plural(found.stages.length, "stage")), stages(found)),
    h("section", null, heading("Left out", plural(found["excluded-subclouds"].length, "site")), leftOut(found["excluded-subclouds"])),
    creation(page, own, refusals.length ? "see the refusals above" : null),
  ];
}

/** Return how long it is likely to take, in words. @param {Api.StrategyPreview} found */
function duration({ expected, "expected-missing": missing, rollout }) {
  if (!expected) return `How long it takes is not known: ${missing}`;
  const waits = rollout.stages?.some((/** @type {ShownStage} */ one) => one.gate) ? ", and as long as approvals take" : "";
  const [likely, late] = [expected["p50-s"], expected["p90-s"]].map(seconds => span(seconds));
  return ["Likely to take ", h("b", null, likely), `${late === likely ? "" : ` to ${late}`} once it is applied${waits}`];
}

/**
 * @param {string} word
 * @param {Kid} note
 */
const heading = (word, note) => h("h2", { class: "sect" }, word, h("span", { class: "dim light" }, note));
/**
 * @param {string} kind
 * @param {string} text
 */
const warning = (kind, text) => h("li", { class: kind }, icon("warn"), h("span", { dir: "auto" }, text));

/**
 * Offer to make room, where a strategy that has ended keeps another one from being created.
 * @param {Page} page
 * @param {string[]} refusals
 */
function room(page, refusals) {
  const { strategy } = page.state;
  if (!refusals.length || !strategy?.commands.includes("delete")) return null;
  return h("p", null, button(`Delete strategy ${strategy.id}…`, "remove", { kind: "small", icon: "cancel", why: page.refusal || page.roleRefusal() }));
}

/** @param {Api.StrategyPreview} found */
function stages({ stages: all, rollout }) {
  const most = Math.max(1, ...all.map(stage => stage.count));
  return h("div", { class: "stg" }, all.slice(0, MOST_STAGES).map(stage => {
    const rule = rollout.stages?.find((/** @type {ShownStage} */ one) => one.name === stage.name), waits = [];
    if (rule?.["soak-s"]) waits.push(`waits ${num(rule["soak-s"] / 60)} min`);
    if (rule?.gate) waits.push("somebody approves");
    return [h("span", { class: "num dim" }, stage.stage), h("bdi", null, stage.name),
      h("span", { class: stage.name === "canary" ? "c" : "" }, h("div", { class: "t" }, h("i", { style: { width: `${(stage.count / most) * 100}%` } }))),
      h("span", { class: "num" }, num(stage.count)), h("span", { class: "dim x num" }, stage.width ? `${num(stage.width)} at once` : ""),
      waits.length ? h("span", { class: "gate" }, icon("clock", 14), waits.join(", then ")) : null];
  }), all.length > MOST_STAGES ? [h("span"), h("span", { class: "dim rest" }, `and ${num(all.length - MOST_STAGES)} more`)] : null);
}

/** @param {Api.Excluded[]} excluded */
function leftOut(excluded) {
  if (!excluded.length) return h("p", { class: "sub pad" }, "Nobody.");
  // Thousands may be left out, and the pane is rendered several times a second.
  const reasons = grouped.get(excluded) || sitesByReason(excluded);
  grouped.set(excluded, reasons);
  const rows = [...reasons].sort((a, b) => b[1].length - a[1].length).map(([why, sites]) => h("tr", null,
    h("td", { class: "many" }, h("b", null, num(sites.length))), h("td", { class: "text", dir: "auto" }, why),
    h("td", { class: "text" }, h("span", { class: "names" }, sites.slice(0, MOST_NAMES).map(one => name(one)),
      sites.length > MOST_NAMES ? h("span", { class: "dim" }, `and ${num(sites.length - MOST_NAMES)} more`) : null))));
  return h("table", { class: "reasons" }, h("tbody", null, rows));
}

/** Names of sites by reason, of the left-out sites of each preview. @type {WeakMap<Api.Excluded[], Map<string, string[]>>} */
const grouped = new WeakMap();

/** @param {Api.Excluded[]} excluded */
function sitesByReason(excluded) {
  /** @type {Map<string, string[]>} */
  const reasons = new Map();
  for (const { name: site, reason } of excluded) {
    // The sentence names the site, which would make each of them another one.
    const why = reason.replace(`Prestage skipped '${site}': `, "").replaceAll(site, "…"), sites = reasons.get(why);
    if (sites) sites.push(site);
    else reasons.set(why, [site]);
  }
  return reasons;
}

/**
 * @param {Page} page
 * @param {Own["plan"]} own
 * @param {string?} refused
 */
function creation(page, own, refused) {
  const { found, isCreating, error } = own, why = page.refusal || page.roleRefusal() || refused || (own.isAsking ? "the preview is on its way" : null);
  return h("div", { class: "row wrap creation" },
    h("button", { class: "btn primary", type: "submit", form: "planform", "aria-disabled": why || isCreating ? "true" : null, title: why, "data-why": why, "data-act": why ? "nothing" : null },
      h("span", null, `Create strategy for ${plural(found?.sites ?? 0, "site")}`)),
    h("span", { class: "dim" }, found && !own.fault ? ["plan ", h("span", { class: "mono" }, found["plan-digest"]), " · applies only when you say so"] : ""),
    h("p", { class: "err", role: "alert", id: "create-error", dir: "auto" }, error || ""));
}

// -- what is read and sent ---------------------------------------------------------------

/** Ask for groups and releases, and for the preview of now. @param {Page} page */
export function enter(page) {
  const own = ownOf(page);
  own.error = "";
  void readChoices(page, own);
  void ask(page, own);
}

/** @param {Page} page */
const known = ({ state }) => `${state.me?.name} ${state.strategy?.id} ${state.strategy?.state}`;

/**
 * @param {Page} page
 * @param {Own["plan"]} own
 */
async function readChoices(page, own) {
  if (!page.state.me) return;
  try {
    const [groups, found] = await Promise.all([get("/subcloud-groups"), get("/releases")]);
    Object.assign(own, { groups: groups.subcloud_groups, releases: found.releases });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return;
  }
  page.render();
}

/**
 * @param {Page} page
 * @param {Own["plan"]} own
 */
async function ask(page, own) {
  own.asked = known(page);
  if (!page.state.me) return;
  const number = (own.number = (own.number || 0) + 1);
  if (missingIn(own.form)) return page.render();
  own.isAsking = true;
  let found = null, fault = "";
  try {
    found = await (await call("POST", `${STRATEGY}/preview`, { body: requestOf(own.form) })).json();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    fault = error.message;
  }
  // A later question has been asked meanwhile.
  if (number !== own.number) return;
  Object.assign(own, { isAsking: false, found, fault });
  if (page.pane === "plan") page.render();
}

/**
 * Follow the form; passwords are not kept.
 * @param {Page} page
 * @param {HTMLInputElement} input
 */
export function changed(page, input) {
  const own = ownOf(page);
  /** @type {Record<string, any>} */ (own.form)[input.dataset.field || ""] = input.type === "checkbox" ? input.checked : input.value;
  own.error = "";
  own.isAsking = true;
  clearTimeout(own.timer);
  own.timer = setTimeout(() => void ask(page, own), PAUSE_MS);
  page.render();
}

/**
 * Ask anew where somebody logged in, or the strategy of now has changed, for it decides what is refused.
 * @param {Page} page
 */
export function rendered(page) {
  const own = ownOf(page);
  if (own.asked === known(page)) return;
  if (!own.groups) void readChoices(page, own);
  void ask(page, own);
}

/**
 * @param {Page} page
 * @param {HTMLFormElement & Record<string, HTMLInputElement>} form
 */
async function create(page, form) {
  const own = ownOf(page), { password, again } = form;
  /**
   * @param {string} text
   * @param {HTMLInputElement} [input]
   */
  const tell = (text, input) => {
    own.error = text;
    page.render();
    input?.focus();
  };
  if (own.isCreating || own.isAsking || !own.found || own.fault) return;
  const why = page.refusal || page.roleRefusal() || own.found.refusals[0];
  if (why) return tell(`Not now: ${why}`);
  if (!password.value) return tell("Give the password of the sites.", password);
  if (password.value !== again.value) return tell("The passwords differ: type it twice.", again);
  own.isCreating = true;
  tell("");
  try {
    const request = { ...requestOf(own.form), "plan-digest": own.found["plan-digest"], sysadmin_password: sealed(password.value) };
    const made = await send("POST", STRATEGY, request);
    password.value = again.value = "";
    await page.state.refreshNow();
    toast(`Strategy ${made.id} was made. It begins when you apply it.`);
    location.hash = "#/overview";
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    own.error = error.message;
    void ask(page, own);
  } finally {
    own.isCreating = false;
    page.render();
  }
}

/** @type {Acts} */
export const acts = { create: (page, data, form) => create(page, form) };
