/**
 * The page's picture of the service: a snapshot, then the event stream, in one direction.
 *
 * An event changes the site that it names at once; then that site is read again, for an event does not have everything.
 * After a lost connection the stream goes on behind the last event; where that is not possible everything is read anew.
 */

import { ApiError, call, get, readEvents } from "./api.js";
import { applyEvent } from "./events.js";
import { Site, countStates } from "./sites.js";

// Longest silence of the stream, in milliseconds: it says something every 15 s.
const SILENCE_MS = 40_000;
const SHORTEST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 15_000;
// Between two reads of what events named, in milliseconds.
const REFRESH_MS = 1_000;
// Most sites that are read one by one at a time. Events show the states of the others; they are read later.
const SINGLE_READS = 20;
// Where more wait to be read the whole list is, at most once in this time for each of its sites, in milliseconds.
const LIST_MS_PER_SITE = 1.2;
// Steps in one answer: to parse thousands at once would keep the page from answering a hand.
const PAGE = 1000;
// Workers tell nothing on the stream.
const WORKERS_MS = 10_000;
const PROBLEMS_MS = 3_000;
// While a strategy goes on its pace and its likely end move, also where nothing happens.
const FORECAST_MS = 5_000;

// Keys of steps that walls and tables need: all of them would double the list. A sheet reads its own step whole.
const FIELDS = ["id", "cloud", "stage", "group", "state", "details", "outcome", "problem", "held", "run-state", "worker",
  "attempt", "phase-started-at", "started-at", "finished-at"];

/** Return name and roles of the session. */
async function whoLooks() {
  const session = await get("/ui/session");
  if (!session.name) throw new ApiError(401, "Nobody is logged in.");
  return session;
}

/** What all panes show, and how it is kept up to date. */
export class State {
  /** @param {(changed: Set<number>?) => void} onChange places of the sites that changed; null: all may have */
  constructor(onChange) {
    this.onChange = onChange;
    /** `loading`, `live`, `lost`, `expired` (nobody is logged in) or `failed` (the service refuses). */
    this.connection = "loading";
    this.error = "";
    /** Who looks at the page. @type {Session?} */
    this.me = null;
    /** The active strategy with its progress; null: there is none. @type {Strategy?} */
    this.strategy = null;
    /** The same strategy as the history has it: who asked for it, and when. @type {Api.HistoricStrategy?} */
    this.past = null;
    this.sites = /** @type {Site[]} */ ([]);
    this.index = /** @type {Map<string, Site>} */ (new Map());
    this.countsMade = /** @type {Record<SiteState, number>?} */ (null);
    this.problems = /** @type {Api.Problem[]} */ ([]);
    this.otherProblems = 0;
    this.workers = /** @type {Api.Worker[]?} */ (null);
    /** How many subclouds the inventory has; null: not known yet. @type {number?} */
    this.known = null;
    this.knownReady = 0;
    this.knownMore = false;
    /** Time since the epoch, in seconds, for which the picture is true. @type {number?} */
    this.shownAt = null;
    this.lostAt = /** @type {number?} */ (null);
    this.retryAt = /** @type {number?} */ (null);
    /** Changes that came after a lost connection, until the notice is dismissed; null: none. @type {number?} */
    this.caughtUp = null;
    this.lastId = /** @type {string?} */ (null);
    this._openedAt = 0;
    this._stop = /** @type {AbortController?} */ (null);
    // Whether there is an active strategy, as snapshot and events tell: asking for none would be an error.
    this.exists = false;
    /** Names of sites that are to be read again; then what else is. @type {Set<string>} */
    this.dirty = new Set();
    this.dirtyStrategy = this.dirtyProblems = this.dirtyList = false;
    this._read = { list: 0, workers: 0, problems: 0, strategy: 0 };
    this._wake = /** @type {(() => void)?} */ (null);
    this._refreshing = false;
    setInterval(() => void this._refresh(), REFRESH_MS);
  }

  /** Follow the service until the page is closed. */
  async follow() {
    let pause = SHORTEST_PAUSE_MS;
    for (;;) {
      try {
        if (!this.me) this.me = await whoLooks();
        await this._stream(() => (pause = SHORTEST_PAUSE_MS));
        this._lose();
      } catch (error) {
        if (error instanceof ApiError && [401, 403].includes(error.status)) {
          this.connection = error.status === 401 ? "expired" : "failed";
          this.error = error.message;
          this.onChange(null);
          await this._pause(Infinity);
          continue;
        }
        this.error = error instanceof ApiError ? error.message : "";
        this._lose();
      }
      this.retryAt = Date.now() + pause;
      this.onChange(null);
      await this._pause(pause);
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
  }

  /** Try the connection again now. */
  reconnect() {
    this._wake?.();
  }

  /** Begin anew after a login or logout. */
  restart() {
    Object.assign(this, { me: null, strategy: null, past: null, sites: [], index: new Map(), countsMade: null });
    Object.assign(this, { problems: [], workers: null });
    Object.assign(this, { known: null, lastId: null, caughtUp: null, lostAt: null, connection: "loading", error: "" });
    // The stream of the session of before goes on for a while otherwise.
    this._stop?.abort();
    this.reconnect();
    this.onChange(null);
  }

  /** Read everything that a command may have changed. */
  async refreshNow() {
    this.dirtyStrategy = this.dirtyProblems = true;
    if (this.sites.length <= 500) this.dirtyList = true;
    await this._refresh(true);
  }

  /** Whether the picture is up to date, so that commands may be given. */
  get isLive() {
    return this.connection === "live";
  }

  _lose() {
    if (this.connection === "live") this.lostAt = Date.now() / 1000;
    if (this.connection !== "loading") this.connection = "lost";
    else if (this.error) this.connection = "lost";
  }

  /** @param {number} milliseconds */
  _pause(milliseconds) {
    return /** @type {Promise<void>} */ (new Promise(resolve => {
      const timer = Number.isFinite(milliseconds) ? setTimeout(resolve, milliseconds) : 0;
      this._wake = () => {
        clearTimeout(timer);
        resolve();
      };
    }));
  }

  /** @param {() => void} onOpen */
  async _stream(onOpen) {
    const stop = (this._stop = new AbortController());
    let timer = 0;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => stop.abort(), SILENCE_MS);
    };
    /** @type {Record<string, string>} */
    const headers = this.lastId ? { "Last-Event-ID": this.lastId } : {};
    const query = { brief: "true" };
    try {
      alive();
      const answer = await call("GET", "/events", { query, headers, signal: stop.signal, patience: 0 });
      const resumed = Boolean(this.lastId);
      let missed = 0, isOpen = false;
      const open = () => {
        if (isOpen) return;
        isOpen = true;
        this._open(resumed);
        onOpen();
      };
      /** @param {StreamEvent} message */
      const onMessage = message => {
        if (message.id) this.lastId = message.id;
        if (message.event === "snapshot") {
          this.exists = JSON.parse(message.data).strategy !== null;
          void this._load();
        } else if (message.event !== "dropped") applyEvent(this, message.event, JSON.parse(message.data));
        if (this.caughtUp != null && Date.now() / 1000 - this._openedAt < 3) this.caughtUp = ++missed;
      };
      await readEvents(answer, onMessage, () => {
        alive();
        open();
        this.shownAt = Date.now() / 1000;
      });
    } catch (error) {
      if (!stop.signal.aborted) throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param {boolean} resumed */
  _open(resumed) {
    this.connection = "live";
    this._openedAt = Date.now() / 1000;
    this.caughtUp = resumed && this.lostAt != null ? 0 : null;
    this.lostAt = this.retryAt = null;
    this.error = "";
    this.dirtyStrategy = true;
    this.onChange(null);
  }

  async _load() {
    try {
      await this._readStrategy();
      await Promise.all([
        this._readSteps(),
        this._readProblems(),
        this._readWorkers(),
        this.strategy ? null : this._countKnown(),
      ]);
    } catch (error) {
      this._failed(error);
    }
    this.onChange(null);
  }

  /** @param {unknown} error */
  _failed(error) {
    if (!(error instanceof ApiError)) throw error;
    this.error = error.message;
    if (error.status !== 401) return;
    this.connection = "expired";
    this.onChange(null);
  }

  async _readStrategy() {
    const before = this.strategy?.id;
    this._read.strategy = Date.now();
    this.strategy = this.exists ? await this._activeStrategy() : null;
    if (this.strategy?.id !== before) {
      this.past = null;
      this.sites = [];
      this.index = new Map();
      this.countsMade = null;
      if (this.strategy) this.dirtyList = true;
    }
    if (this.strategy && (!this.past || this.past.state !== this.strategy.state)) {
      this.past = await get(`/strategies/${this.strategy.id}`);
    }
    this.onChange(new Set());
  }

  async _activeStrategy() {
    try {
      return await get("/sw-update-strategy");
    } catch (error) {
      if (error instanceof ApiError && [404, 422].includes(error.status)) return null;
      throw error;
    }
  }

  /** Read all steps, and return the places of the sites that look different now; null: all may. */
  async _readSteps() {
    this.dirtyList = false;
    this.dirty.clear();
    this._read.list = Date.now();
    const strategy = this.strategy, steps = strategy ? await this._allSteps() : null;
    // Another strategy has come meanwhile, and its own steps are to be read.
    if (!steps || this.strategy?.id !== strategy?.id) return null;
    const before = (/** @type {Step} */ a, /** @type {Step} */ b) => a.stage - b.stage || a.id - b.id;
    if (steps.some((step, i) => i && before(steps[i - 1], step) > 0)) steps.sort(before);
    const isHeld = this.holdsPhases, isSame = steps.length === this.sites.length;
    this.countsMade = null;
    // Without another order the same sites go on, so that the wall keeps its places.
    if (isSame && steps.every((step, i) => step.cloud === this.sites[i].name && step.stage === this.sites[i].stage)) {
      const changed = new Set();
      // What an event changed meanwhile is newer than the list, and is read again.
      steps.forEach((step, i) => !this.dirty.has(step.cloud) && this.sites[i].take(step, isHeld) && changed.add(i));
      return changed;
    }
    this.sites = steps.map((step, i) => new Site(step, i, isHeld));
    this.index = new Map(this.sites.map(site => [site.name, site]));
    return null;
  }

  async _allSteps() {
    const steps = [];
    for (let marker = /** @type {string?} */ (null); ;) {
      /** @type {Api.StepList} */
      const found = await get("/sw-update-strategy/steps", { fields: FIELDS.join(","), limit: PAGE, marker });
      steps.push(...found["strategy-steps"]);
      if (!found.next) return steps;
      marker = new URL(found.next, location.origin).searchParams.get("marker");
    }
  }

  async _readProblems() {
    this.dirtyProblems = false;
    this._read.problems = Date.now();
    if (!this.strategy) {
      this.problems = [];
      return;
    }
    const found = await get("/sw-update-strategy/problems");
    this.problems = found.problems;
    this.otherProblems = found.others;
  }

  async _readWorkers() {
    this._read.workers = Date.now();
    this.workers = (await get("/workers")).workers;
  }

  async _countKnown() {
    const page = await get("/subclouds", { limit: 1000 });
    this.known = page.subclouds.length;
    this.knownReady = page.subclouds.filter(
      site => site["management-state"] === "managed" && site["availability-status"] === "online",
    ).length;
    this.knownMore = Boolean(page.next);
  }

  /** The active strategy, for what is shown and done with one alone. */
  get active() {
    return /** @type {Strategy} */ (this.strategy);
  }

  /** How many sites are in each state. */
  get counts() {
    return (this.countsMade ||= countStates(this.sites));
  }

  /** Whether a hold of the strategy keeps next phases back. */
  get holdsPhases() {
    return Boolean(this.strategy?.holds?.some(hold => hold.scope === "phases"));
  }

  /** @param {boolean} [now] */
  async _refresh(now = false) {
    if (this._refreshing || !this.isLive || !this.me) return;
    this._refreshing = true;
    try {
      /** @param {Kid} what */
      /** @param {keyof State["_read"]} what */
      const age = what => Date.now() - this._read[what];
      if (this.dirtyStrategy || (this.strategy?.state === "applying" && age("strategy") >= FORECAST_MS)) {
        this.dirtyStrategy = false;
        await this._readStrategy();
      }
      const isDue = now || age("list") >= Math.max(REFRESH_MS, this.sites.length * LIST_MS_PER_SITE);
      if ((this.dirtyList || this.dirty.size > SINGLE_READS) && isDue) {
        this.onChange(await this._readSteps());
      } else if (this.dirty.size) await this._readSites();
      if (this.dirtyProblems && (now || age("problems") >= PROBLEMS_MS)) {
        await this._readProblems();
        this.onChange(new Set());
      }
      if (age("workers") >= WORKERS_MS) {
        await this._readWorkers();
        this.onChange(new Set());
      }
    } catch (error) {
      this._failed(error);
    } finally {
      this._refreshing = false;
    }
  }

  async _readSites() {
    const names = [...this.dirty].slice(0, SINGLE_READS);
    for (const name of names) this.dirty.delete(name);
    if (!this.strategy) return;
    /**
     * @param {string} name
     * @returns {Promise<[Site, Step]?>}
     */
    const read = async name => {
      const site = this.index.get(name);
      if (!site) return null;
      const step = await get(`/sw-update-strategy/steps/${encodeURIComponent(name)}`);
      return this.index.get(name) === site ? [site, step] : null;
    };
    const changed = new Set();
    for (const found of await Promise.all(names.map(read))) {
      if (!found) continue;
      const [site, step] = found;
      // An event came meanwhile: it is newer, and the site is read again.
      if (this.dirty.has(site.name)) continue;
      // Its place does not change before the whole list is read.
      site.take(step, this.holdsPhases);
      changed.add(site.i);
    }
    this.countsMade = null;
    this.onChange(changed);
  }
}
