/** The pane of the overview: head, wall or table of sites, problems, and the sites at work. */

import { button, glyph, h, hm, icon, moment, name, num, plural, span } from "../elements.js";
import { STATES, filterTest, groupsOf, isFiltered, isRunning, phaseWord } from "../sites.js";
import { siteAddress } from "../routes.js";
import { Wall } from "../wall.js";
import { currentStage, head } from "./head.js";
import { SORTS, table } from "./table.js";

const RUNNING = "precheck,prepare,packages,images";
const canvas = /** @type {HTMLCanvasElement} */ (h("canvas", { "aria-hidden": "true" }));
const option = h("div", { role: "option", id: "wall-active", "aria-selected": "true", class: "sr" });
const tip = h("div", { class: "tip", hidden: true });
const list = h("div", {
  class: "wall", role: "listbox", tabindex: "0", "aria-label": "Sites in stage order", "aria-activedescendant": "wall-active", id: "wall",
}, option, canvas, tip);
const wall = new Wall(canvas);
/** @type {Page?} */
let shown = null;
let tipOf = -1;

/** Return the elements of the pane. @param {Page} page */
export function render(page) {
  const { state } = page;
  if (state.connection === "loading" || (!state.strategy && !state.me)) return h("div", { "data-key": "loading" }, h("p", { class: "sub" }, "Loading…"));
  if (!state.strategy) return nothing(state);
  const parts = [
    h("section", { "aria-labelledby": "wall-heading" }, h("h2", { id: "wall-heading", class: "sr" }, "Sites"), tools(page), about(page),
      page.matches.length || !isFiltered(page.filter) ? null : noMatch(),
      page.filter.view === "table" ? table(page) : h("div", { id: "wallbox", "data-keep": "", hidden: !page.matches.length })),
    h("aside", null, problems(page), atWork(page)),
  ];
  return h("div", { "data-key": `overview${page.isNarrow}` }, head(page), h("div", { class: "cols" }, page.isNarrow ? parts.reverse() : parts));
}

/** Put the wall into its place, and place its cells where width or sites changed. @param {Page} page */
export function rendered(page) {
  const place = document.getElementById("wallbox");
  if (!place) return;
  if (list.parentNode !== place) place.append(list);
  const { sites } = page.state;
  if (place.clientWidth && (place.clientWidth !== wall.width || wall.sites !== sites)) {
    wall.layout(sites, place.clientWidth);
    page._allCells = true;
    describe();
  }
  const open = page.site && page.state.index.get(page.site);
  if (open && wall.active !== open.i) wall.move(open.i);
  shown = page;
}

/**
 * Draw the sites at some places again; null: all.
 * @param {Page} page
 * @param {Set<number>?} changed
 */
export function patch(page, changed) {
  if (!list.isConnected || page.filter.view === "table") return;
  const stage = page.state.strategy?.state === "applying" ? currentStage(page.state) : 0;
  wall.match = isFiltered(page.filter) ? filterTest(page.filter) : null;
  const isMoved = stage !== wall.stage;
  wall.stage = stage;
  if (changed && !isMoved) wall.patch(changed);
  else wall.draw();
  if (!tip.hidden && (!changed || changed.has(tipOf))) showTip(tipOf);
}

/** Take the colours of another theme. */
export function recolour() {
  if (wall.colours) wall.recolour();
}

/** @param {Page} page */
function tools(page) {
  const { state, filter } = page, groups = groupsOf(state.sites);
  const isWall = filter.view !== "table";
  return h("div", { class: "tools" },
    h("div", { class: "find" }, icon("search"), h("input", {
      type: "search", id: "find", "data-field": "q", placeholder: "Find sites", "aria-label": "Find sites by name or reason",
      value: filter.q, autocomplete: "off", spellcheck: "false",
    })),
    groups.length ? h("select", { "data-field": "group", "aria-label": "Group" }, h("option", { value: "" }, "All groups"),
      groups.map(group => h("option", { value: group, selected: filter.group === group }, group))) : null,
    h("select", { "data-field": "problem", "aria-label": "Problem" }, h("option", { value: "" }, "Any problem"),
      unknownProblem(page), state.problems.map(one =>
        h("option", { value: one.id, selected: filter.problem === one.id }, `${one.class} in ${phaseWord(one.phase)} (${num(one.count)})`))),
    h("span", { class: "grow" }),
    h("div", { class: "seg", role: "group", "aria-label": "View" },
      button("Wall", "view", { icon: "grid", data: { view: "wall" }, "aria-pressed": String(isWall) }),
      button("Table", "view", { icon: "table", data: { view: "table" }, "aria-pressed": String(!isWall) })));
}

/** @param {Page} page */
function unknownProblem({ state, filter }) {
  if (!filter.problem || state.problems.some(one => one.id === filter.problem)) return null;
  return h("option", { value: filter.problem, selected: true }, `problem ${filter.problem}`);
}

/** @param {Page} page */
function about(page) {
  const { sites } = page.state;
  const parts = isFiltered(page.filter)
    ? [`${num(page.matches.length)} of ${plural(sites.length, "site")}`, button("Clear filter", "clearFilter", { kind: "ghost small", icon: "cancel" })]
    : h("span", null, `${plural(sites.length, "site")} in stage order. `, h("span", { class: "nowrap hint" }, h("kbd", null, "←↑↓→"), " move, ",
      h("kbd", null, "Enter"), " opens, ", h("kbd", null, "f"), " next failed, ", h("kbd", null, "?"), " all keys"));
  return h("p", { class: "row wrap dim about" }, parts);
}

const noMatch = () => h("div", { class: "empty" }, h("h2", null, "No site matches"),
  h("p", { class: "sub" }, "The filter leaves none of the sites. Text looks at names and reasons."), button("Clear filter", "clearFilter"));

/** @param {Page} page */
function problems(page) {
  const { state } = page, { failed } = state.active.progress, found = state.problems, causes = found.length;
  const ended = state.sites.filter(site => STATES[site.state].kind === "ended").length;
  return h("section", { "aria-labelledby": "problems-heading" },
    h("div", { class: "sect" }, h("h2", { id: "problems-heading" }, "Problems"),
      causes ? h("a", { href: "#/problems" }, `${plural(failed, "site")}, ${plural(causes, "cause")}`) : null),
    causes ? h("ul", { class: "list" }, found.slice(0, 4).map(problem => problemLine(page, problem)))
      : h("p", { class: "sub pad" }, `None. ${plural(ended, "site")} ended, and no one failed.`));
}

/**
 * @param {Page} page
 * @param {Api.Problem} problem
 */
function problemLine(page, problem) {
  const first = hm(moment(problem.first) ?? 0), last = hm(moment(problem.last) ?? 0);
  return h("li", { class: "prob" }, h("span", { class: "n" }, num(problem.count)),
    h("span", null, h("b", null, problem.class), h("span", { class: "dim" }, ` in ${phaseWord(problem.phase)}`)),
    h("span", { class: "dim" }, first === last ? last : `${first}–${last}`),
    h("span", { class: "txt", title: problem.text, dir: "auto" }, problem.text),
    h("span", { class: "meta" }, button("Show", "showProblem", { kind: "link", class: "", data: { problem: problem.id } }),
      button(`Retry ${problem.count > 1 ? `these ${num(problem.count)}` : "it"}…`, "retry", {
        kind: "link", class: "", data: { problem: problem.id }, why: page.refusal || page.roleRefusal(),
      })));
}

/**
 * How many times the usual duration a site has been in its phase; null: the usual one is not known.
 * @param {Site} site
 * @param {number} now
 */
const slowness = (site, now) => {
  const usual = site.step["usual-s"];
  return usual && site.since != null ? (now - site.since) / usual : null;
};

/** @param {Page} page */
function atWork(page) {
  const now = Date.now() / 1000, most = page.isPhone ? 4 : 12;
  const busy = page.state.sites.filter(isRunning);
  busy.sort((a, b) => (slowness(b, now) ?? 0) - (slowness(a, now) ?? 0) || (a.since ?? now) - (b.since ?? now));
  const isOver = page.state.active.state !== "applying";
  return h("section", { "aria-labelledby": "work-heading" },
    h("div", { class: "sect" }, h("h2", { id: "work-heading" }, "At work"), h("span", { class: "dim" }, busy.length ? `${num(busy.length)}, slowest first` : "")),
    busy.length ? h("ul", { class: "list work" }, busy.slice(0, most).map(site => workLine(site, now)),
      busy.length > most ? h("li", null, h("p", null, h("a", { class: "more", href: `#/overview?state=${RUNNING}&view=table` }, `${num(busy.length - most)} more`))) : null)
      : h("p", { class: "sub pad" }, isOver ? "Nothing." : "Nothing at this moment."));
}

/**
 * @param {Site} site
 * @param {number} now
 */
function workLine(site, now) {
  const times = slowness(site, now), { progress } = site, isSlow = (times ?? 0) > 2;
  const task = [STATES[site.state].word, site.worker && ` · ${site.worker}`, site.attempt > 1 && ` · attempt ${site.attempt}`,
    progress?.task && ` · ${progress.task}`];
  return h("li", null, h("a", { href: siteAddress(site.name) }, glyph(site.state), name(site.name),
    h("span", { class: "num sub" }, site.since == null ? "" : span(now - site.since)),
    h("span", { class: "task", dir: "auto" }, task),
    times == null ? null : h("span", { class: "el", title: `usual ${span(site.step["usual-s"] ?? 0)}; the mark is the usual time` },
      isSlow ? h("b", { class: "amber" }, times > 10 ? "> 10×" : `${times.toFixed(1)}×`) : null,
      h("span", { class: `pace${isSlow ? " slow" : ""}` }, h("i", { style: { width: `${Math.min(100, times * 50)}%` } }), h("u")))));
}

/** @param {State} state */
function nothing(state) {
  if (state.known === 0) {
    return h("div", { class: "empty", "data-key": "nosites" }, h("h1", null, "No sites yet"),
      h("p", { class: "sub" }, "Prestager does not know any site. Bring in what you have: an Ansible inventory, or what dcmanager knows."),
      h("ol", { class: "steps" },
        h("li", null, h("b", null, "Import the sites"), h("code", { class: "cmd" }, "prestager subcloud import inventory.yml")),
        h("li", null, h("b", null, "See that they are online and managed"), h("code", { class: "cmd" }, "prestager subcloud list")),
        h("li", null, h("b", null, "Plan a strategy"), h("span", { class: "sub" }, "Possible as soon as one site is managed and online."))));
  }
  const workers = state.workers?.filter(one => one.alive && one.roles.includes("worker")) || [];
  const slots = workers.reduce((sum, one) => sum + (one.slots || 0), 0);
  /**
   * @param {boolean} ok
   * @param {string} label
   * @param {Kid} note
   */
  const done = (ok, label, note) => h("li", { class: ok ? "ok1" : "" }, h("b", null, label), note);
  return h("div", { class: "empty", "data-key": "nostrategy" }, h("h1", null, "No strategy yet"),
    h("p", { class: "sub" }, "A strategy brings one release onto many sites, stage by stage. Nothing starts before you apply it."),
    h("ol", { class: "steps" },
      state.known == null ? null : done(state.knownReady > 0, `${num(state.knownReady)} of ${num(state.known)}${state.knownMore ? " (the first)" : ""} sites are managed and online`,
        h("span", { class: "sub" }, h("a", { href: "#/plan" }, "See who is left out, and why"))),
      done(workers.length > 0, workers.length ? `${plural(workers.length, "worker")}, ${plural(slots, "slot")}` : "No worker is there", h("span", { class: "sub" }, h("a", { href: "#/health" }, "Look at workers"))),
      h("li", null, h("b", null, "Plan it"), h("span", { class: "sub" }, "The preview tells stages, left-out sites and warnings, and stores nothing."),
        h("div", { class: "pad" }, h("a", { class: "btn primary", href: "#/plan" }, icon("plus"), "Plan a strategy")))),
    h("p", { class: "dim" }, h("a", { href: "#/history" }, "Strategies of before")));
}

// -- hands ----------------------------------------------------------------------

function describe() {
  const site = wall.sites[wall.active];
  option.textContent = site ? `${site.name}, stage ${site.stage}${site.group ? `, group ${site.group}` : ""}, ${STATES[site.state].word}${site.details ? `: ${site.details}` : ""}` : "no sites";
}

/** @param {number} i */
function showTip(i) {
  tipOf = i;
  const site = wall.sites[i];
  tip.hidden = !site;
  if (!site) return;
  const now = Date.now() / 1000, { word } = STATES[site.state], usual = site.step["usual-s"];
  const lines = [h("b", null, glyph(site.state), name(site.name)), h("div", { class: "sub" }, [word, `stage ${site.stage}`, site.group].filter(Boolean).join(" · "))];
  if (isRunning(site) && site.since != null) {
    lines.push(h("div", { class: "sub" }, span(now - site.since), usual ? `, usual ${span(usual)}` : "", site.worker ? ` · ${site.worker}` : ""));
  } else if (site.endedAt != null) {
    lines.push(h("div", { class: "sub" }, `ended ${hm(site.endedAt)}`, site.startedAt == null ? "" : `, took ${span(site.endedAt - site.startedAt)}`));
  }
  if (site.details) lines.push(h("span", { class: site.state === "failed" ? "bad" : "sub", dir: "auto" }, site.details));
  const { held } = site.step;
  if (held) lines.push(h("span", { class: "amber" }, "held by ", h("bdi", null, held.by), held.reason ? [": ", h("bdi", null, held.reason)] : ""));
  tip.replaceChildren(...lines);
  const x = wall.places[2 * i], y = wall.places[2 * i + 1];
  tip.style.left = `${Math.max(0, Math.min(x, wall.width - Math.min(320, tip.offsetWidth)))}px`;
  tip.style.top = `${y + wall.pitch + 6}px`;
}

/** @param {MouseEvent} event */
function under(event) {
  const { left, top } = canvas.getBoundingClientRect();
  return wall.hit(event.clientX - left, event.clientY - top);
}

function openActive() {
  const site = wall.sites[wall.active];
  if (site) location.hash = siteAddress(site.name);
}

list.addEventListener("pointermove", event => showTip(under(event)));
list.addEventListener("pointerleave", () => showTip(-1));
list.addEventListener("click", event => {
  const i = under(event);
  if (i < 0) return;
  wall.move(i);
  openActive();
});
list.addEventListener("focus", () => {
  wall.move(wall.active);
  describe();
  if (list.matches(":focus-visible")) showTip(wall.active);
});
list.addEventListener("blur", () => {
  showTip(-1);
  if (!shown?.site) wall.move(wall.active, false);
});
list.addEventListener("keydown", event => {
  if (event.altKey || event.metaKey) return;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    return openActive();
  }
  const to = wall.key(event);
  if (to == null) return;
  event.preventDefault();
  event.stopPropagation();
  wall.move(to);
  describe();
  showTip(wall.active);
  const y = canvas.getBoundingClientRect().top + wall.places[2 * wall.active + 1];
  if (y < 64 || y > innerHeight - 140) scrollBy(0, y < 64 ? y - 120 : y - innerHeight + 200);
});

/** Give the focus back to the wall. */
export const focusWall = () => list.focus({ preventScroll: true });

/**
 * Keys of the wall work from anywhere in the pane.
 * @param {Page} page
 * @param {KeyboardEvent} event
 */
export function key(page, event) {
  if (page.site || page.filter.view === "table" || !["f", "F", "r"].includes(event.key) || !list.isConnected) return false;
  const to = wall.key(event);
  if (to == null) return false;
  list.focus();
  wall.move(to);
  describe();
  showTip(to);
  return true;
}

/**
 * Take what was typed or chosen in the filter.
 * @param {Page} page
 * @param {HTMLInputElement} field
 */
export function changed(page, field) {
  page.setFilter({ [field.dataset.field || "q"]: field.value });
}

/** @type {Acts} */
export const acts = {
  view: (page, { view }) => page.setFilter({ view }),
  clearFilter: page => page.setFilter({ q: "", group: "", problem: "", states: new Set() }),
  filterState(page, { state }) {
    const states = new Set(page.filter.states);
    if (state && !states.delete(state)) states.add(state);
    page.setFilter({ states });
  },
  showProblem: (page, { problem }) => page.setFilter({ problem, states: new Set(), q: "", group: "", view: "wall" }),
  sort(page, { sort }) {
    const own = page.own("overview"), [key, direction] = own.sort || ["stage", "asc"];
    own.sort = sort && SORTS[sort] ? [sort, key === sort && direction === "asc" ? "desc" : "asc"] : own.sort;
    page.render();
  },
  toPage(page, { to }) {
    page.own("overview").page = Number(to);
    page.render();
  },
};
