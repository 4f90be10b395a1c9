/**
 * The wall: one cell for each site, in the order of stages. One canvas; only cells that changed are drawn again.
 *
 * The canvas says nothing to screen readers: the list box around it has one option, which names the active site.
 */

import { isRunning } from "./sites.js";
import { drawn } from "./sprites.js";

// Widest stage of a row of its own; sliding windows are broken into rows of this many.
const WINDOW_ROW = 100;
// Longest time for which cells are drawn without a pause, in milliseconds, and how many are drawn between two looks at it.
const SLICE_MS = 8;
const SLICE = 100;
const COLOURS = ["bg", "paper", "ink", "ink-2", "ink-3", "done", "done-soft", "done-text", "run", "run-track", "fail", "hold",
  "stop", "wait", "on", "accent", "sans", "mono"];

/** Before the first layout. @type {Record<string, string>} */
const NO_COLOURS = {};

export class Wall {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    /** @type {{[state in SiteState]?: HTMLCanvasElement}} */
    this.sprites = {};
    /** @type {Site[]} */
    this.sites = [];
    /** Places of the first site and behind the last one of each row. @type {[number, number][]} */
    this.rows = [];
    /** @type {WallLabel[]} */
    this.labels = [];
    this.places = new Float32Array(0);
    this.width = this.height = this.gutter = this.columns = this.pitch = 0;
    this.ratio = 1;
    this.isNarrow = this.hasLetters = false;
    /** Of the theme, by name; null before the first layout. @type {Record<string, string>?} */
    this.colours = null;
    this._timer = 0;
    this.active = 0;
    this.hasRing = false;
    /** Test of sites that are not faded; null: none is. @type {((site: Site) => boolean)?} */
    this.match = null;
    /** The stage that is worked on; 0: none. */
    this.stage = 0;
  }

  /**
   * Place all sites in a width, in CSS pixels.
   * @param {Site[]} sites
   * @param {number} width
   */
  layout(sites, width) {
    const count = sites.length, isNarrow = width < 560;
    const widest = Math.min(count, WINDOW_ROW, longestStage(sites));
    Object.assign(this, { sites, width, isNarrow, gutter: isNarrow ? 28 : 72 });
    const room = width - this.gutter - 2;
    this._measure(count, widest, room);
    this.places = new Float32Array(count * 2);
    this.rows = [];
    this.labels = [];
    let y = 2;
    /** @type {string?} */
    let group = null;
    for (let from = 0; from < count;) {
      const { stage, group: first } = sites[from];
      let to = from;
      while (to < count && sites[to].stage === stage) to++;
      if (first !== group && group !== null) y += isNarrow ? 18 : 8;
      if (isNarrow && first && group === null) y += 14;
      this.labels.push({ stage, y, group: first !== group ? first : "", rows: Math.ceil((to - from) / this.columns) });
      group = first;
      y = this._placeStage(from, to, y);
      y += count > 1500 || isNarrow ? 4 : count <= 100 ? 6 : 1;
      from = to;
    }
    this.active = Math.min(this.active, Math.max(0, count - 1));
    this._size(Math.ceil(y + 2));
  }

  /**
   * @param {number} count
   * @param {number} widest
   * @param {number} room
   */
  _measure(count, widest, room) {
    let pitch = count <= 100 ? 32 : count <= 1500 ? 16 : 10;
    if (!this.isNarrow && count > 100 && count <= 1500) {
      pitch = Math.max(14, Math.min(22, Math.floor((room / widest) * 2) / 2));
    }
    if (this.isNarrow) {
      const half = Math.floor((room / Math.ceil(widest / 2)) * 10) / 10;
      pitch = count <= 100 ? 28 : count <= 1500 ? Math.max(12, Math.min(24, half)) : 8;
    }
    this.columns = Math.max(1, Math.min(widest, Math.floor(room / pitch)));
    if (count > 1500 && !this.isNarrow) {
      const longest = longestStage(this.sites);
      this.columns = Math.ceil(longest / Math.max(1, Math.ceil((longest * 9.25) / room)));
      pitch = Math.min(12, Math.floor((room / this.columns) * 4) / 4);
    }
    this.pitch = pitch;
    this.hasLetters = pitch >= 13;
  }

  /**
   * @param {number} from
   * @param {number} to
   * @param {number} top
   */
  _placeStage(from, to, top) {
    let y = top;
    for (let start = from; start < to; start += this.columns) {
      const end = Math.min(to, start + this.columns);
      this.rows.push([start, end]);
      for (let i = start; i < end; i++) {
        this.places[2 * i] = this.gutter + (i - start) * this.pitch;
        this.places[2 * i + 1] = y;
      }
      y += this.pitch;
    }
    return y;
  }

  /** @param {number} height */
  _size(height) {
    this.height = height;
    this.ratio = Math.min(3, devicePixelRatio || 1);
    this.canvas.width = Math.round(this.width * this.ratio);
    this.canvas.height = Math.round(height * this.ratio);
    this.canvas.style.height = `${height}px`;
    this.recolour();
  }

  /** Read the colours of the theme again. */
  recolour() {
    const style = getComputedStyle(document.documentElement);
    this.colours = Object.fromEntries(COLOURS.map(key => [key, style.getPropertyValue(`--${key}`).trim()]));
    this.sprites = {};
  }

  /** Draw everything; thousands of cells with pauses, in which the page answers a hand. */
  draw() {
    if (!this.colours) return;
    const { context, canvas } = this;
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.textBaseline = "middle";
    for (const label of this.labels) this._label(label);
    this._drawFrom(0);
  }

  /** @param {number} first */
  _drawFrom(first) {
    clearTimeout(this._timer);
    const end = performance.now() + SLICE_MS;
    for (let i = first; i < this.sites.length; i++) {
      if (i % SLICE === 0 && performance.now() > end) {
        this._timer = setTimeout(() => this._drawFrom(i));
        return;
      }
      this._cell(i);
    }
    this._ring();
  }

  /** Draw the cells of sites that changed, by their places. @param {Set<number>} changed */
  patch(changed) {
    if (!this.colours) return;
    for (const i of changed) if (i < this.sites.length) this._cell(i);
    if (changed.size) this._ring();
  }

  /** @param {WallLabel} label */
  _label({ stage, y, group, rows }) {
    const { context, ratio } = this, colours = this.colours ?? NO_COLOURS, isNow = stage === this.stage, middle = (y + this.pitch / 2) * ratio;
    if (group) {
      context.font = `500 ${11 * ratio}px ${colours.sans}`;
      context.fillStyle = colours["ink-2"];
      context.textAlign = "left";
      const room = (this.isNarrow ? this.width : this.gutter - 30) * ratio;
      const text = shortened(context, group, room);
      context.fillText(text, 0, this.isNarrow ? (y - 8) * ratio : middle);
    }
    context.font = `${isNow ? 700 : 400} ${11 * ratio}px ${colours.sans}`;
    context.fillStyle = isNow ? colours.accent : colours["ink-3"];
    context.textAlign = "right";
    context.fillText(String(stage), (this.gutter - 10) * ratio, middle);
    if (!isNow) return;
    context.fillRect((this.gutter - 6) * ratio, (y + 1) * ratio, 2 * ratio, (rows * this.pitch - 2) * ratio);
  }

  /** @param {number} i */
  _cell(i) {
    const site = this.sites[i], { context, ratio } = this, side = Math.ceil(this.pitch * ratio);
    const x = Math.round(this.places[2 * i] * ratio), y = Math.round(this.places[2 * i + 1] * ratio);
    context.clearRect(x, y, side, side);
    context.globalAlpha = this.match && !this.match(site) ? 0.16 : 1;
    context.drawImage(this._sprite(site.state), x, y);
    context.globalAlpha = 1;
  }

  /** @param {SiteState} state */
  _sprite(state) {
    return (this.sprites[state] ||= drawn(state, this.pitch * this.ratio, this.ratio, this.colours ?? NO_COLOURS, this.hasLetters));
  }

  _ring() {
    if (!this.hasRing || !this.sites.length || !this.colours) return;
    const { context, ratio, pitch, places, active } = this;
    context.strokeStyle = this.colours.accent;
    context.lineWidth = 2 * ratio;
    context.beginPath();
    const x = places[2 * active] * ratio + ratio, y = places[2 * active + 1] * ratio + ratio;
    context.roundRect(x, y, pitch * ratio - 2 * ratio, pitch * ratio - 2 * ratio, 3 * ratio);
    context.stroke();
  }

  /**
   * Make a site the active one; with or without its ring.
   * @param {number} i
   * @param {boolean} [hasRing]
   */
  move(i, hasRing = true) {
    const before = this.active;
    this.active = Math.max(0, Math.min(this.sites.length - 1, i));
    this.hasRing = hasRing;
    if (!this.colours || !this.sites.length) return;
    this._cell(Math.min(before, this.sites.length - 1));
    this._ring();
  }

  /**
   * Return the place that a key leads to; null: it is none of the wall's.
   * @param {KeyboardEvent} event
   * @returns {number?}
   */
  key({ key, ctrlKey }) {
    const at = this.rows.findIndex(([from, to]) => this.active >= from && this.active < to);
    if (at < 0) return null;
    const [from, to] = this.rows[at], column = this.active - from, last = this.sites.length - 1;
    /** @param {number} row */
    /** @param {number} row */
    const inRow = row => {
      const [start, end] = this.rows[Math.max(0, Math.min(this.rows.length - 1, row))];
      return Math.min(end - 1, start + column);
    };
    switch (key) {
      case "ArrowLeft": return this.active - 1;
      case "ArrowRight": return this.active + 1;
      case "ArrowUp": return inRow(at - 1);
      case "ArrowDown": return inRow(at + 1);
      case "Home": return ctrlKey ? 0 : from;
      case "End": return ctrlKey ? last : to - 1;
      case "PageUp": return this._stageAway(-1);
      case "PageDown": return this._stageAway(1);
      case "f": return this._next(site => site.state === "failed", 1);
      case "F": return this._next(site => site.state === "failed", -1);
      case "r": return this._next(isRunning, 1);
      default: return null;
    }
  }

  /** @param {number} by */
  _stageAway(by) {
    const stages = [...new Set(this.sites.map(site => site.stage))], active = this.sites[this.active];
    const at = stages.indexOf(active.stage), own = this.sites.findIndex(site => site.stage === active.stage);
    const wanted = stages[Math.max(0, Math.min(stages.length - 1, at + by))];
    const first = this.sites.findIndex(site => site.stage === wanted);
    let size = 0;
    while (first + size < this.sites.length && this.sites[first + size].stage === wanted) size++;
    return first + Math.min(size - 1, this.active - own);
  }

  /**
   * @param {(site: Site) => boolean} test
   * @param {number} by
   */
  _next(test, by) {
    const count = this.sites.length;
    for (let step = 1; step <= count; step++) {
      const i = (((this.active + by * step) % count) + count) % count;
      if (test(this.sites[i])) return i;
    }
    return this.active;
  }

  /**
   * Return the place of the site at a point of the canvas, in CSS pixels; -1: there is none.
   * @param {number} x
   * @param {number} y
   */
  hit(x, y) {
    for (const [from, to] of this.rows) {
      const top = this.places[2 * from + 1];
      if (y < top || y >= top + this.pitch) continue;
      const column = Math.floor((x - this.gutter) / this.pitch);
      return column >= 0 && from + column < to ? from + column : -1;
    }
    return -1;
  }
}

/** @param {Site[]} sites */
function longestStage(sites) {
  const sizes = new Map();
  for (const { stage } of sites) sizes.set(stage, (sizes.get(stage) || 0) + 1);
  return Math.max(1, ...sizes.values());
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} room
 */
function shortened(context, text, room) {
  const letters = [...text];
  if (context.measureText(text).width <= room) return text;
  while (letters.length > 1 && context.measureText(`${letters.join("")}…`).width > room) letters.pop();
  return `${letters.join("")}…`;
}
