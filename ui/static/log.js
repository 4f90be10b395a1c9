/** The log of a site: read and followed as a stream, searched, copied. */

import { ApiError, call } from "./api.js";
import { h, num } from "./elements.js";

// Most lines in the page: the newest.
const MOST_LINES = 4000;
const PAUSE_MS = 3_000;
const LOOK_MS = 500;
const NOT_BEGUN = "Nothing yet. The log begins when the site starts.";

/** @type {[RegExp, string][]} */
const KINDS = [
  [/^===/, "head"],
  [/^(fatal|failed|FAILED|ERROR)\b|^\S+ failed:|FAILED!/, "fail"],
  [/^(TASK|PLAY|RUNNING HANDLER)\b/, "task"],
  [/^ok:/, "ok"],
  [/^changed:/, "chg"],
  [/^(\[\.\.\.|\[WARNING)/, "warn"],
];

/** Lines of one site's log, and the elements that show them. */
export class LogView {
  constructor() {
    this.element = h("div", { class: "lines", id: "lines", tabindex: "0", role: "log", "aria-label": "Lines of the log" });
    this.isFollowing = true;
    /** @type {string[]} */
    this._lines = [];
    this._partial = this._query = this._note = "";
    this._shown = this._due = 0;
    /** @type {AbortController?} */
    this._stop = null;
    this._reset();
    this.element.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.element;
      this.isFollowing = scrollHeight - scrollTop - clientHeight < 12;
    });
  }

  _reset() {
    this._lines = [];
    this._partial = "";
    this._shown = 0;
    this._query = "";
    this._note = "Reading the log…";
    this.element.replaceChildren();
  }

  /** The whole log as text. */
  get text() {
    return this._lines.join("\n");
  }

  /**
   * Begin to read a log.
   * @param {string} path of the log of a site or of a run
   * @param {() => boolean} hasBegun whether there can be a log: the site was started
   */
  open(path, hasBegun) {
    this.close();
    this._reset();
    this.isFollowing = true;
    this._stop = new AbortController();
    void this._read(path, hasBegun, this._stop.signal);
  }

  /** Read no more. */
  close() {
    this._stop?.abort();
    this._stop = null;
  }

  /**
   * @param {string} path
   * @param {() => boolean} hasBegun
   * @param {AbortSignal} signal
   */
  async _read(path, hasBegun, signal) {
    while (!signal.aborted) {
      if (!hasBegun()) {
        this._note = NOT_BEGUN;
        this._schedule();
        await new Promise(resolve => setTimeout(resolve, LOOK_MS));
        continue;
      }
      try {
        const answer = await call("GET", path, { query: { follow: 1 }, signal, patience: 0, headers: { Accept: "text/plain, application/json" } });
        this._lines = [];
        this._partial = "";
        this._shown = 0;
        this.element.replaceChildren();
        if (!answer.body) return;
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        for (;;) {
          const { value, done } = await reader.read();
          if (signal.aborted) return;
          if (done) break;
          this._take(value);
        }
        this._note = "Nothing was printed yet.";
        this._schedule();
        if (!/^=== .*(stopping|follow again)/.test(this._lines.at(-1) || "")) return;
      } catch (error) {
        if (signal.aborted) return;
        this._note = error instanceof ApiError ? (error.status === 404 ? NOT_BEGUN : error.message) : "The log broke off.";
        this._schedule();
        if (error instanceof ApiError && [401, 403].includes(error.status)) return;
      }
      await new Promise(resolve => setTimeout(resolve, PAUSE_MS));
    }
  }

  /** @param {string} text */
  _take(text) {
    const lines = (this._partial + text).split("\n");
    this._partial = lines.pop() ?? "";
    for (const line of lines) this._lines.push(line.replace(/\r$/, ""));
    this._schedule();
  }

  _schedule() {
    this._due ||= requestAnimationFrame(() => {
      this._due = 0;
      this.show();
    });
  }

  /** Bring the lines in the page up to date. */
  show() {
    if (!this.element.isConnected) return;
    const { element } = this;
    if (!this._lines.length) {
      if (element.textContent !== this._note) element.replaceChildren(h("div", null, h("span", { class: "dim" }, this._note)));
      return;
    }
    if (this._shown === this._lines.length) return;
    if (!this._shown) element.replaceChildren();
    const from = Math.max(this._shown, this._lines.length - MOST_LINES), part = document.createDocumentFragment();
    for (let i = from; i < this._lines.length; i++) part.append(this._line(i));
    element.append(part);
    this._shown = this._lines.length;
    while (element.childElementCount > MOST_LINES) element.firstElementChild?.remove();
    if (this.isFollowing) element.scrollTop = element.scrollHeight;
    if (this._query) this._told();
  }

  /** @param {number} i */
  _line(i) {
    const text = this._lines[i], kind = KINDS.find(([form]) => form.test(text))?.[1];
    return h("div", { class: kind && `l-${kind}`, dir: "auto" }, this._marked(text));
  }

  /** @param {string} text */
  _marked(text) {
    const at = this._query ? text.toLowerCase().indexOf(this._query) : -1;
    if (at < 0) return text || "\u200b";
    const end = at + this._query.length;
    return [text.slice(0, at), h("mark", null, text.slice(at, end)), text.slice(end)];
  }

  /** Mark what was typed, and go to the first line that has it. @param {string} text */
  search(text) {
    this._query = text.trim().toLowerCase();
    this._shown = 0;
    const wasFollowing = this.isFollowing;
    this.isFollowing = false;
    this.show();
    this._told();
    const first = this.element.querySelector("mark");
    if (first) first.scrollIntoView({ block: "center" });
    else this.follow(wasFollowing);
  }

  _told() {
    const place = document.getElementById("logfound");
    if (!place) return;
    const count = this._query ? this._lines.filter(line => line.toLowerCase().includes(this._query)).length : 0;
    place.textContent = this._query ? `${num(count)} line${count === 1 ? "" : "s"}` : "";
  }

  /** Keep the newest line in sight, or not. @param {boolean} isWanted */
  follow(isWanted) {
    this.isFollowing = isWanted;
    if (isWanted) this.element.scrollTop = this.element.scrollHeight;
  }

  /** Show the first line of the last failure. */
  jumpToFailure() {
    const failures = this.element.querySelectorAll(".l-fail");
    this.isFollowing = false;
    failures[failures.length - 1]?.scrollIntoView({ block: "center" });
  }
}
