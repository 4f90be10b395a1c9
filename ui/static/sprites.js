/** Pictures of the states for the cells of the wall: the same shapes as the glyphs of elements.js. */

import { STATES } from "./sites.js";

/**
 * Return a picture of a state; `unit` is its side in device pixels.
 * @param {SiteState} state
 * @param {number} unit
 * @param {number} ratio
 * @param {Record<string, string>} colours
 * @param {boolean} hasLetters
 */
export function drawn(state, unit, ratio, colours, hasLetters) {
  const picture = document.createElement("canvas");
  picture.width = picture.height = Math.ceil(unit);
  const pen = new Pen(/** @type {CanvasRenderingContext2D} */ (picture.getContext("2d")), unit, ratio, colours, hasLetters);
  pen.draw(state);
  return picture;
}

class Pen {
  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} unit
   * @param {number} ratio
   * @param {Record<string, string>} colours
   * @param {boolean} hasLetters
   */
  constructor(context, unit, ratio, colours, hasLetters) {
    this.x = context;
    this.unit = unit;
    this.k = colours;
    this.hasLetters = hasLetters;
    this.middle = unit / 2;
    this.radius = Math.min(unit * 0.42, 11 * ratio);
    this.line = Math.max(1, unit * 0.085);
    this.isLarge = unit / ratio >= 24;
  }

  /** @param {SiteState} state */
  draw(state) {
    const { letter } = STATES[state];
    if (state === "complete") this.complete(letter);
    else if (state === "failed") this.failed(letter);
    else if (state === "aborted") this.aborted(letter);
    else if (state === "skipped") this.skipped(letter);
    else if (state === "held") this.held();
    else if (state === "waiting") this.waiting(letter);
    else if (state === "slot") this.slot(letter);
    else this.phase(letter);
  }

  /**
   * @param {string} letter
   * @param {string} colour
   * @param {number} [down]
   * @param {number} [size]
   */
  text(letter, colour, down = 0, size = 1.12) {
    if (!this.hasLetters) return;
    const { x, radius, middle } = this;
    x.fillStyle = colour;
    x.font = `700 ${(radius * size).toFixed(1)}px ${this.k.mono}`;
    x.textAlign = "center";
    x.textBaseline = "middle";
    x.fillText(letter, middle, middle + down + radius * 0.07);
  }

  /**
   * @param {number} radius
   * @param {number} [part]
   */
  arc(radius, part = 1) {
    this.x.beginPath();
    this.x.arc(this.middle, this.middle, radius, -Math.PI / 2, (part * 4 - 1) * (Math.PI / 2));
  }

  /**
   * @param {number} part
   * @param {string} colour
   * @param {number} width
   */
  ring(part, colour, width) {
    this.x.strokeStyle = colour;
    this.x.lineWidth = width;
    this.arc(this.radius, part);
    this.x.stroke();
  }

  /**
   * @param {number} radius
   * @param {string} colour
   */
  disc(radius, colour) {
    this.x.fillStyle = colour;
    this.arc(radius);
    this.x.fill();
  }

  /**
   * @param {number} half
   * @param {string?} fill
   * @param {string} [stroke]
   * @param {number} [width]
   */
  box(half, fill, stroke, width = this.line) {
    const { x, middle } = this;
    x.lineWidth = width;
    x.beginPath();
    x.roundRect(middle - half, middle - half, 2 * half, 2 * half, this.unit * 0.1);
    if (fill) {
      x.fillStyle = fill;
      x.fill();
    }
    if (!stroke) return;
    x.strokeStyle = stroke;
    x.stroke();
  }

  /** @param {string} letter */
  complete(letter) {
    this.disc(this.radius * 0.95, this.k["done-soft"]);
    this.x.strokeStyle = this.k.done;
    this.x.lineWidth = Math.max(1, this.unit * 0.055);
    this.x.stroke();
    this.text(letter, this.k["done-text"], 0, 1.1);
  }

  /** @param {string} letter */
  failed(letter) {
    const { x, middle, radius } = this;
    x.fillStyle = this.k.fail;
    x.beginPath();
    x.moveTo(middle, middle - radius * 1.12);
    x.lineTo(middle + radius * 1.16, middle + radius);
    x.lineTo(middle - radius * 1.16, middle + radius);
    x.fill();
    this.text(letter, this.k.on, radius * 0.36, 1);
  }

  /** @param {string} letter */
  aborted(letter) {
    this.box(this.radius * 0.9, this.k.stop);
    this.text(letter, this.k.on);
  }

  /** @param {string} letter */
  skipped(letter) {
    const { x, middle, radius } = this;
    x.save();
    x.beginPath();
    x.rect(middle - radius * 0.88, middle - radius * 0.88, radius * 1.76, radius * 1.76);
    x.clip();
    x.globalAlpha = this.hasLetters ? 0.5 : 1;
    x.strokeStyle = this.k["ink-3"];
    x.lineWidth = Math.max(1, this.unit * 0.05);
    for (let at = -2 * radius; at < 2 * radius; at += radius * 0.55) {
      x.beginPath();
      x.moveTo(middle + at - radius, middle + radius);
      x.lineTo(middle + at + radius, middle - radius);
      x.stroke();
    }
    x.restore();
    this.box(radius * 0.86, null, this.k["ink-3"]);
    this.text(letter, this.k["ink-2"], 0, 1.2);
  }

  held() {
    const { x, middle, radius } = this;
    x.fillStyle = this.k.hold;
    for (const left of [-radius * 0.85, radius * 0.3]) x.fillRect(middle + left, middle - radius * 0.92, radius * 0.55, radius * 1.84);
    if (this.hasLetters) x.fillRect(middle - radius * 0.4, middle - radius * 0.09, radius * 0.8, Math.max(1, radius * 0.18));
  }

  /** @param {string} letter */
  waiting(letter) {
    this.box(this.radius * 0.74, null, this.k.wait, Math.max(1, this.unit * 0.06));
    if (this.isLarge) this.text(letter, this.k["ink-3"], 0, 0.8);
  }

  /** @param {string} letter */
  slot(letter) {
    this.x.setLineDash([this.radius * 0.52, this.radius * 0.265]);
    this.ring(1, this.k.run, this.line);
    this.x.setLineDash([]);
    this.text(letter, this.k.run, 0, 1.05);
  }

  /** @param {string} letter */
  phase(letter) {
    this.ring(1, this.k["run-track"], this.line * 1.25);
    this.ring(Number(letter) / 4, this.k.run, this.line * 1.45);
    this.disc(this.radius * (this.hasLetters ? 0.74 : 0.5), this.k.run);
    this.text(letter, this.k.on, 0, 1.05);
  }
}
