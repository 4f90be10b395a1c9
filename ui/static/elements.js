/**
 * Small parts that every pane uses: elements, icons, glyphs of states, numbers and times.
 *
 * Texts become text nodes, never markup. Styles are set through the CSSOM, which the content security policy allows.
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an HTML element.
 * @param {string} tag
 * @param {Props?} [props] attributes; null and false are left out, true is an empty one; `style` has CSS properties
 * @param {...Kid} kids nodes, texts, numbers, arrays of them; null and false are left out
 * @returns {HTMLElement}
 */
export function h(tag, props, ...kids) {
  return fill(document.createElement(tag), props, kids);
}

/**
 * Make an SVG element; as `h`.
 * @param {string} tag
 * @param {Props?} [props]
 * @param {...Kid} kids
 * @returns {SVGElement}
 */
export function s(tag, props, ...kids) {
  return fill(document.createElementNS(SVG, tag), props, kids);
}

/**
 * @template {HTMLElement | SVGElement} E
 * @param {E} element
 * @param {Props | null | undefined} props
 * @param {Kid[]} kids
 * @returns {E}
 */
function fill(element, props, kids) {
  for (const [key, value] of Object.entries(props || {})) {
    if (value == null || value === false) continue;
    if (typeof value === "object") for (const name in value) element.style.setProperty(name, value[name]);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  add(element, kids);
  return element;
}

/**
 * @param {Element} element
 * @param {Kid[]} kids
 */
function add(element, kids) {
  for (const kid of kids) {
    if (kid == null || kid === false) continue;
    if (Array.isArray(kid)) add(element, kid);
    else element.append(kid instanceof Node ? kid : String(kid));
  }
}

/**
 * Bring a live tree to look like a new one, and keep focus, scroll and what is typed.
 *
 * Elements with another `data-key` are replaced; what is inside one with `data-keep` is left alone. A `details` keeps
 * whether it is open.
 * @param {any} old a live node, of whatever kind
 * @param {any} now
 */
export function morph(old, now) {
  /** @param {any} node */
  /** @param {any} node */
  const keyOf = node => node.dataset?.key || "";
  if (old.nodeType !== now.nodeType || old.nodeName !== now.nodeName || keyOf(old) !== keyOf(now)) {
    old.replaceWith(now);
    return;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== now.data) old.data = now.data;
    return;
  }
  const isDetails = old.nodeName === "DETAILS";
  for (const { name } of [...old.attributes]) {
    if (!now.hasAttribute(name) && name !== "style" && !(isDetails && name === "open")) old.removeAttribute(name);
  }
  for (const { name, value } of now.attributes) {
    if (name === "style" || (isDetails && name === "open")) continue;
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (old.style && old.style.cssText !== now.style.cssText) old.style.cssText = now.style.cssText;
  if (old.dataset?.keep != null) return;
  if (old === document.activeElement && /INPUT|TEXTAREA|SELECT/.test(old.nodeName)) return;
  const before = [...old.childNodes], after = [...now.childNodes], both = Math.min(before.length, after.length);
  for (let i = 0; i < both; i++) morph(before[i], after[i]);
  for (let i = both; i < after.length; i++) old.append(after[i]);
  for (let i = both; i < before.length; i++) before[i].remove();
  // The property of a field that was changed by hand no longer follows its attribute.
  if (old.nodeName === "SELECT" && old.value !== now.value) old.value = now.value;
  if (old.nodeName === "INPUT" && /text|search/.test(old.type) && now.hasAttribute("value") && old.value !== now.value) {
    old.value = now.value;
  }
}

/** @type {Record<string, string>} */
const ICONS = {
  pause: "M5 3v10M11 3v10",
  play: "M4.5 2.8v10.4L13 8z",
  stop: "M3.5 3.5h9v9h-9z",
  cancel: "M4 4l8 8M12 4l-8 8",
  retry: "M13 8a5 5 0 1 1-1.6-3.7M13 2v3h-3",
  check: "M3 8.5l3.2 3.2L13 4.6",
  warn: "M8 2.2 14.3 13.4H1.7zM8 6.4v3.2M8 11.5v.2",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.4 10.4 14 14",
  sun: "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6zM8 1v1.8M8 13.2V15M1 8h1.8M13.2 8H15M3 3l1.3 1.3M11.7 11.7 13 13M13 3"
    + "l-1.3 1.3M4.3 11.7 3 13",
  moon: "M13.2 9.6A5.6 5.6 0 0 1 6.4 2.8a5.6 5.6 0 1 0 6.8 6.8z",
  grid: "M2.5 2.5h4v4h-4zM9.5 2.5h4v4h-4zM2.5 9.5h4v4h-4zM9.5 9.5h4v4h-4z",
  table: "M2 3.5h12M2 8h12M2 12.5h12",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  down: "M8 2.5v8M4.5 7 8 10.5 11.5 7M3 13.5h10",
  up: "M8 13.5v-8M4.5 9 8 5.5 11.5 9M3 2.5h10",
  right: "M6 3.5 10.5 8 6 12.5",
  left: "M10 3.5 5.5 8l4.5 4.5",
  chevron: "M3.5 6 8 10.5 12.5 6",
  wide: "M2.5 8h11M5 5.2 2.2 8 5 10.8M11 5.2 13.8 8 11 10.8",
  user: "M8 2.5a2.7 2.7 0 1 0 0 5.4 2.7 2.7 0 0 0 0-5.4zM2.8 13.8c.6-2.9 2.7-4.2 5.2-4.2s4.6 1.3 5.2 4.2",
  hold: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8zM6.3 5.5v5M9.7 5.5v5",
  plug: "M5.5 2v3M10.5 2v3M3.5 5h9v2.5a4.5 4.5 0 0 1-9 0zM8 12v2.5",
  sliders: "M2 5h6.5M12.5 5H14M2 11h1.5M7.5 11H14M10.5 3.2a1.8 1.8 0 1 0 0 3.6 1.8 1.8 0 0 0 0-3.6zM5.5 9.2a1.8 1.8 0 1 0 0"
    + " 3.6 1.8 1.8 0 0 0 0-3.6z",
  clock: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8zM8 4.5V8l2.4 1.6",
  plus: "M8 3v10M3 8h10",
  out: "M6 2.5H3v11h3M10 5l3 3-3 3M13 8H6",
  key: "M10.5 2.5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8.4 7.6 2.5 13.5M4.5 11.5l1.8 1.8",
};

/**
 * Return an icon, which says nothing to screen readers.
 * @param {string} name
 * @param {number} [size]
 */
export function icon(name, size = 16) {
  const box = { class: "icon", width: size, height: size, viewBox: "0 0 16 16", "aria-hidden": "true" };
  return s("svg", { ...box, focusable: "false" }, s("path", { d: ICONS[name] }));
}

/** Return the sign of the product. */
export function logo() {
  return s("svg", { class: "logo", width: 20, height: 20, viewBox: "0 0 20 20", "aria-hidden": "true" },
    s("rect", { x: 1, y: 1, width: 18, height: 18, rx: 4.5 }), s("path", { d: "M5 6h10M5 10h7M5 14h4" }));
}

/**
 * Return the glyph of a state (`STATES` in sites.js); the canvas of the wall draws the same shapes.
 * @param {string} state
 * @param {number} [size]
 */
export function glyph(state, size = 16) {
  const box = { class: `glyph g-${state}`, width: size, height: size, viewBox: "0 0 16 16", "aria-hidden": "true" };
  return s("svg", box, ...(SHAPES[state] || phaseShape)(state));
}

/**
 * @param {Kid} text
 * @param {string} cls
 * @param {number} y
 * @param {number} size
 */
const letter = (text, cls, y, size) => s("text", { x: 8, y, class: cls, "font-size": size, "text-anchor": "middle" }, text);
/**
 * @param {number} at
 * @param {number} side
 * @param {number} radius
 * @param {string} cls
 */
const square = (at, side, radius, cls) =>
  s("rect", { x: at, y: at, width: side, height: side, rx: radius, class: cls });
/**
 * @param {number} radius
 * @param {string} cls
 */
const disc = (radius, cls) => s("circle", { cx: 8, cy: 8, r: radius, class: cls });
const HATCH = "M2.6 6.4 6.4 2.6M2.6 10 10 2.6M2.8 13.4 13.4 2.8M6 13.4 13.4 6M9.6 13.4 13.4 9.6";

/** @type {Record<string, (state: string) => SVGElement[]>} */
const SHAPES = {
  complete: () => [disc(6.6, "calm"), letter("C", "calmt", 11.1, 8.6)],
  skipped: () => [square(2.2, 11.6, 1.5, "line"), s("path", { d: HATCH, class: "hatch" }), letter("S", "ink", 11.2, 8.8)],
  failed: () => [s("path", { d: "M8 .8 15.6 14.8H.4z", class: "fill" }), letter("F", "on", 13.2, 8.4)],
  aborted: () => [square(2, 12, 1, "fill"), letter("A", "on", 11.1, 8.6)],
  held: () => [
    s("path", { d: "M2.6 1.8h3.6v12.4H2.6zM9.8 1.8h3.6v12.4H9.8z", class: "fill" }),
    s("path", { d: "M5.5 8h5", class: "line thin" }),
  ],
  slot: () => [disc(6.3, "line dash"), letter("Q", "ink", 11.1, 8.6)],
  waiting: () => [square(2.6, 10.8, 2, "line thin"), letter("W", "ink", 10.8, 7.6)],
};

/** @param {string} state */
function phaseShape(state) {
  const quarters = ["precheck", "prepare", "packages", "images"].indexOf(state) + 1 || 1;
  const angle = (quarters / 4) * 2 * Math.PI;
  const x = (8 + 6.6 * Math.sin(angle)).toFixed(2), y = (8 - 6.6 * Math.cos(angle)).toFixed(2);
  const arc = `M8 1.4A6.6 6.6 0 ${quarters > 2 ? 1 : 0} 1 ${x} ${y}`;
  return [
    disc(6.6, "track"),
    quarters === 4 ? disc(6.6, "ring") : s("path", { d: arc, class: "ring" }),
    disc(4.7, "fill"),
    letter(quarters, "on", 10.9, 8),
  ];
}

/**
 * Return a whole number with a narrow space between thousands; null is a dash.
 * @param {number | null | undefined} value
 */
export const num = value =>
  value == null ? "–" : Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");

/**
 * Return `1 site`, `2 sites`.
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export const plural = (count, one, many) => `${num(count)} ${count === 1 ? one : many || `${one}s`}`;

/** @param {Intl.DateTimeFormatOptions} options */
const format = options => new Intl.DateTimeFormat("en-GB", options);
const HM = format({ hour: "2-digit", minute: "2-digit" });
const HMS = format({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = format({ day: "2-digit", month: "short" });
const FULL = format({ dateStyle: "short", timeStyle: "long" });
const UTC = format({ timeZone: "UTC", hour: "2-digit", minute: "2-digit", second: "2-digit" });

/**
 * Return the seconds since the epoch of a moment of the API, `2026-11-22 08:00:00.123` in UTC or with a zone.
 * @param {string | null | undefined} text
 * @returns {number?} null without a moment
 */
export function moment(text) {
  if (!text) return null;
  const iso = text.replace(" ", "T");
  const value = Date.parse(/(Z|[+-]\d\d:?\d\d)$/.test(iso) ? iso : `${iso}Z`) / 1000;
  return Number.isNaN(value) ? null : value;
}

/** @param {number} epoch */
export const hm = epoch => HM.format(epoch * 1000);
/** @param {number} epoch */
export const hms = epoch => HMS.format(epoch * 1000);
/** @param {number} epoch */
export const day = epoch => DAY.format(epoch * 1000);

/** Return date and time with zone, and in UTC. @param {number} epoch */
export const full = epoch => `${FULL.format(epoch * 1000)} (${UTC.format(epoch * 1000)} UTC)`;

/**
 * Return a time element; another day than today is told. Null is a dash.
 * @param {number | null | undefined} epoch
 * @param {boolean} [seconds]
 * @returns {HTMLElement | string}
 */
export function time(epoch, seconds = false) {
  if (epoch == null) return "–";
  const isToday = day(epoch) === day(Date.now() / 1000);
  const text = `${isToday ? "" : `${day(epoch)} `}${seconds ? hms(epoch) : hm(epoch)}`;
  return h("time", { datetime: new Date(epoch * 1000).toISOString(), title: full(epoch) }, text);
}

/**
 * Return a duration such as `3 min 12 s` or `2 h 05 min`; short: `2 h 05`.
 * @param {number} seconds
 * @param {boolean} [short]
 */
export function span(seconds, short = false) {
  const all = Math.max(0, Math.round(seconds));
  const hours = Math.floor(all / 3600), minutes = Math.floor((all % 3600) / 60), rest = all % 60;
  if (hours) return `${hours} h ${String(minutes).padStart(2, "0")}${short ? "" : " min"}`;
  if (minutes) return `${minutes} min${short && minutes > 9 ? "" : ` ${String(rest).padStart(2, "0")} s`}`;
  return `${rest} s`;
}

/**
 * Return a name as isolated text, cut where there is no room, with the whole in the tooltip.
 * @param {string} text
 * @param {string} [cls]
 */
export const name = (text, cls = "") => h("bdi", { class: `name ${cls}`, title: text }, text);

/**
 * Return a button.
 * @param {Kid} label
 * @param {string} act name of the function in `acts` of a pane or of the page
 * @param {ButtonOptions} [options]
 */
export function button(label, act, options = {}) {
  const { icon: sign, kind = "", why, data = {}, ...rest } = options;
  /** @type {Props} */
  const props = { type: "button", "data-act": act, ...rest, class: `${rest.class || "btn"} ${kind}`.trim() };
  for (const key in data) props[`data-${key}`] = data[key];
  if (why) Object.assign(props, { "aria-disabled": "true", title: why, "data-why": why });
  return h("button", props, sign && icon(sign), label && h("span", null, label));
}

/**
 * Return the head of a table from words with their classes; one without a word is no heading.
 * @param {[word: string, cls?: string][]} words
 */
export const columns = words =>
  h("thead", null, h("tr", null, words.map(([word, cls]) => (word ? h("th", { scope: "col", class: cls }, word) : h("td", { class: "th" })))));

/**
 * Return a field with its label; the note is told after it, and is no part of its name.
 * @param {string} place where it stands, which makes its id unique
 * @param {Kid} label
 * @param {HTMLElement} input with a name or `data-field`
 * @param {Kid} [note]
 */
export function field(place, label, input, note = null) {
  input.id = `${place}-${input.dataset.field || input.getAttribute("name")}`;
  if (note) input.setAttribute("aria-describedby", [input.getAttribute("aria-describedby"), `${input.id}-note`].filter(Boolean).join(" "));
  return h("div", { class: "field" }, h("label", { for: input.id }, label), input, note ? h("small", { id: `${input.id}-note` }, note) : null);
}
