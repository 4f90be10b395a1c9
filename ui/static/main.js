/**
 * The page: what is shown, and where clicks and keys go. One direction: state, then panes, then `morph`.
 *
 * A pane is a module with
 *   `render(page)`    the elements that it shows, from the state alone
 *   `acts`            functions `(page, dataset, element)` by the `data-act` of buttons; optional
 *   `changed`         function `(page, field)` for fields with `data-field`, as they are typed in; optional
 *   `enter(page)`     what it reads or begins when it is opened, or its address changes; optional
 *   `rendered(page)`  after its elements are in the page; optional
 *   `key(page, event)` whether it took a key; optional
 * and keeps what is its own in `page.own(NAME)`.
 */

import { morph } from "./elements.js";
import { State } from "./state.js";
import * as routes from "./routes.js";
import { filterTest, isFiltered } from "./sites.js";
import { listen } from "./keys.js";
import * as commands from "./commands.js";
import { toast } from "./dialogs.js";
import * as frame from "./frame.js";
import * as overview from "./panes/overview.js";
import * as problems from "./panes/problems.js";
import * as site from "./panes/site.js";
import * as timeline from "./panes/timeline.js";
import * as plan from "./panes/plan.js";
import * as history from "./panes/history.js";
import * as health from "./panes/health.js";
import * as login from "./panes/login.js";

/** @type {Record<string, Pane>} */
const PANES = { overview, problems, timeline, plan, history, health, login };
// Between two renderings of the panes, and of the wall, in milliseconds.
const PANES_MS = 250;
const WALL_MS = 100;
const SAID_MS = 10_000;

/** @param {string} id */
const box = id => /** @type {HTMLElement} */ (document.getElementById(id));

export class Page {
  constructor() {
    this.state = new State(changed => this._changed(changed));
    this.pane = "overview";
    this.part = "";
    this.query = new URLSearchParams();
    this.site = "";
    this.filter = routes.filterOf(this.query);
    /** @type {Record<string, any>} */
    this._own = {};
    /** @type {Site[]?} */
    this._matches = null;
    this.width = 0;
    this.isNarrow = this.isPhone = this._started = false;
    /** @type {Set<number>} */
    this._cells = new Set();
    this._allCells = true;
    this._rendered = this._drawn = 0;
    this._timer = 0;
    /** What was told to screen readers last. */
    this._said = { at: 0, id: 0, done: 0, failed: 0 };
    this.isDark = false;
  }

  /**
   * What a pane keeps while the page is open.
   * @template {keyof Own} P
   * @param {P} pane
   * @returns {Own[P]}
   */
  own(pane) {
    return (this._own[pane] ||= {});
  }

  /** Where nobody has logged in, lead to the login, and from there to what was asked for; return whether it is so. */
  _askForLogin() {
    if (this.state.connection !== "expired" || this.state.me) return false;
    this.own("login").back = location.hash;
    location.hash = "#/login";
    return true;
  }

  /** Follow the address. */
  route() {
    const before = `${this.pane}/${this.part}`, had = this.site;
    const { pane, part, query } = routes.parse(location.hash);
    if (pane !== "login" && this._askForLogin()) return;
    this.site = pane === "sites" ? part : "";
    if (pane === "sites") {
      if (!["overview", "problems", "timeline"].includes(this.pane)) this.pane = "overview";
    } else {
      const isOther = pane !== this.pane;
      Object.assign(this, { pane, part, query });
      if (pane === "overview" && (isOther || query.size || !had)) this.filter = routes.filterOf(query);
    }
    const isMoved = before !== `${this.pane}/${this.part}`;
    if (this.site && this.site !== had) site.enter(this);
    if (!this.site && had) site.leave(this);
    if (!this.site || !had) PANES[this.pane].enter?.(this);
    this.refilter();
    document.title = `${this.site || this.pane[0].toUpperCase() + this.pane.slice(1)} · Prestager`;
    if (this.site && this.site !== had) /** @type {HTMLElement?} */ (document.querySelector(".sheet"))?.focus({ preventScroll: true });
    else if (!this.site && isMoved && this._started) {
      scrollTo(0, 0);
      box("main").focus({ preventScroll: true });
    }
    this._started = true;
  }

  /** Sites that the filter leaves. */
  get matches() {
    return (this._matches ||= isFiltered(this.filter) ? this.state.sites.filter(filterTest(this.filter)) : this.state.sites);
  }

  /** Change the filter, keep it in the address, and show it. @param {Partial<Filter>} change */
  setFilter(change) {
    Object.assign(this.filter, change);
    this.own("overview").page = 0;
    if (!this.site) window.history.replaceState(null, "", routes.overviewAddress(this.filter));
    this.refilter();
  }

  refilter() {
    this._matches = null;
    this._allCells = true;
    this.render();
  }

  /** @param {Set<number>?} changed */
  _changed(changed) {
    this._matches = null;
    if (this.pane !== "login") this._askForLogin();
    if (changed === null) this._allCells = true;
    else for (const i of changed) this._cells.add(i);
    this._schedule();
  }

  _schedule() {
    if (this._timer) return;
    const due = Math.min(this._rendered + PANES_MS, this._drawn + WALL_MS) - performance.now();
    this._timer = setTimeout(() => {
      this._timer = 0;
      const isDue = performance.now() - this._rendered >= PANES_MS;
      this._drawWall();
      if (isDue) this.render();
      else if (!isDue) this._schedule();
    }, Math.max(0, due));
  }

  _drawWall() {
    if (this._allCells || this._cells.size) overview.patch(this, this._allCells ? null : this._cells);
    this._cells = new Set();
    this._allCells = false;
    this._drawn = performance.now();
  }

  /** Bring the page up to date now. */
  render() {
    const { state } = this, pane = PANES[this.pane];
    const main = box("main"), style = getComputedStyle(main);
    this.width = main.clientWidth - parseFloat(style.paddingLeft) * 2 || 1200;
    this.isNarrow = innerWidth <= 1000;
    this.isPhone = innerWidth <= 640;
    const isLogin = this.pane === "login";
    box("top").hidden = isLogin;
    if (!isLogin) put("top", frame.top(this));
    put("banners", isLogin ? null : frame.banners(this));
    put("main", pane.render(this));
    put("drawer", this.site ? site.render(this) : null);
    pane.rendered?.(this);
    if (this.site) site.rendered(this);
    this._drawWall();
    this._rendered = performance.now();
    if (state.isLive) this._say();
  }

  // Changes are told as sums, seldom, so that a screen reader is not flooded.
  _say() {
    const now = performance.now(), { strategy } = this.state, progress = strategy?.progress;
    if (!strategy || !progress || now - this._said.at < SAID_MS) return;
    const done = progress.complete + progress.skipped, failed = progress.failed, before = this._said;
    if (before.id === strategy.id && (done > before.done || failed > before.failed)) {
      box("live").textContent = `${Math.max(0, done - before.done)} more done${failed > before.failed ? `, ${failed - before.failed} failed` : ""}`;
    }
    this._said = { at: now, done, failed, id: strategy.id };
  }

  /**
   * Do what a button is for.
   * @param {string} name
   * @param {{[name: string]: string | undefined}} [data]
   * @param {HTMLElement?} [element]
   */
  act(name, data = {}, element = null) {
    const acts = [this.site ? site.acts : null, PANES[this.pane].acts, frame.acts, commands.acts];
    const found = acts.find(one => one && name in one);
    if (!found) return;
    Promise.resolve(found[name](this, data, element)).catch(error => toast(error.message || String(error)));
  }

  /** Choose the theme: the person's choice, or else the system's. @param {string?} [chosen] */
  setTheme(chosen) {
    if (chosen) remember(chosen);
    const theme = chosen || remembered() || (dark.matches ? "dark" : "light");
    this.isDark = theme === "dark";
    document.documentElement.dataset.theme = theme;
    overview.recolour();
    this.refilter();
  }

  /** Why no command may be given now; null: it may. */
  get refusal() {
    if (this.state.connection === "expired") return "your session has ended";
    if (!this.state.isLive) return "the page is not live";
    return null;
  }

  /** Why a person may not give commands of a kind: `manage` or `change`; null: they may. @param {string} [kind] */
  roleRefusal(kind = "change") {
    const roles = this.state.me?.roles || [];
    const enough = kind === "manage" ? ["admin", "configurator", "operator"] : ["admin", "configurator"];
    if (!this.state.me || roles.some(role => enough.includes(role))) return null;
    return `your role (${roles.join(", ") || "none"}) may not; ${enough.join(" or ")} may`;
  }
}

/**
 * @param {string} id
 * @param {Node?} element
 */
function put(id, element) {
  const live = box(id), wanted = /** @type {HTMLElement} */ (live.cloneNode(false));
  if (element) wanted.append(element);
  morph(live, wanted);
}

function remembered() {
  try {
    return localStorage.getItem("theme");
  } catch {
    return null;
  }
}

/** @param {string} theme */
function remember(theme) {
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Storage is off: the choice lasts until the page is closed.
  }
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const page = new Page();

document.addEventListener("click", event => {
  const button = event.target instanceof Element ? /** @type {HTMLElement?} */ (event.target.closest("[data-act]")) : null;
  if (!button) return;
  if (button.getAttribute("aria-disabled") === "true") return toast(`Not now: ${button.dataset.why}.`);
  if (button.tagName === "A") event.preventDefault();
  page.act(button.dataset.act || "", button.dataset, button);
});
for (const type of ["input", "change"]) {
  document.addEventListener(type, event => {
    const field = /** @type {HTMLInputElement} */ (event.target);
    if (!field.dataset?.field) return;
    // A menu tells both; fields that are typed in are followed as they are typed.
    if ((type === "change") !== (field.nodeName === "SELECT")) return;
    if (page.site && field.closest("#drawer")) site.changed(page, field);
    else PANES[page.pane].changed?.(page, field);
  });
}
document.addEventListener("submit", event => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if (form.method === "dialog") return;
  event.preventDefault();
  if (form.dataset.submit) page.act(form.dataset.submit, form.dataset, form);
});
listen({
  isSiteOpen: () => Boolean(page.site),
  act: name => page.act(name),
  paneKey: event => PANES[page.pane].key?.(page, event) ?? false,
});
let resized = 0;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => page.refilter(), 80);
});
addEventListener("hashchange", () => page.route());
dark.addEventListener("change", () => page.setTheme());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) page.state.reconnect();
});
// Ages and durations move without an event.
setInterval(() => document.hidden || page._schedule(), 1000);

page.setTheme();
await login.redeem(page);
page.route();
void page.state.follow();

