/**
 * Calls of the API: our header, errors as sentences, and repeats that act once.
 *
 * Paths are those below `/v1.0`, without it. Requests on `/sw-update-strategy` carry `?type=prestage`, so that they
 * never mean the strategy of another service behind the same address.
 */

const ROOT = "/v1.0";
// The session's cookie counts only together with this header, which no other site can send.
const OURS = { "X-Prestager-UI": "1", Accept: "application/json" };
// Longest wait for an answer, in milliseconds.
const PATIENCE_MS = 40_000;

/** A call that failed; `message` is the sentence to show. */
export class ApiError extends Error {
  /**
   * @param {number} status HTTP status; 0 where no answer came
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * Return the address of a path with parameters; null and empty ones are left out.
 * @param {string} path
 * @param {Query} [query]
 */
export function address(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value != null && value !== "");
  const all = new URLSearchParams(given.map(([key, value]) => [key, String(value)]));
  if (path === "/sw-update-strategy" || path.startsWith("/sw-update-strategy/")) {
    all.set("type", "prestage");
  }
  const text = all.toString();
  return ROOT + path + (text ? `?${text}` : "");
}

/**
 * Call the API and return the answer; the caller reads its body.
 * @param {string} method
 * @param {string} path
 * @param {CallOptions} [options]
 * @returns {Promise<Response>}
 */
export async function call(method, path, { query, body, headers = {}, signal, patience = PATIENCE_MS } = {}) {
  /** @type {Record<string, string>} */
  const sent = { ...OURS, ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  const limit = new AbortController(), timer = patience ? setTimeout(() => limit.abort(), patience) : 0;
  signal?.addEventListener("abort", () => limit.abort());
  let answer;
  try {
    answer = await fetch(path.startsWith("/ui/") ? path : address(path, query), {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: limit.signal,
      credentials: "same-origin",
      cache: "no-store",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "No answer came. Is the connection to Prestager up?");
  } finally {
    clearTimeout(timer);
  }
  if (!answer.ok) throw await failure(answer);
  return answer;
}

/** @param {Response} answer */
async function failure(answer) {
  let text = "";
  try {
    text = sentenceOf(await answer.json());
  } catch {
    // Not JSON: an answer of something in between, which says nothing to people.
  }
  if (!text && answer.status === 401) text = "Your session has ended. Log in again.";
  return new ApiError(answer.status, text || `The service answered ${answer.status} ${answer.statusText}.`);
}

/** @param {any} body */
function sentenceOf(body) {
  const error = body?.error ?? body;
  return String(error?.message ?? error?.detail ?? error?.description ?? (typeof error === "string" ? error : ""));
}

/**
 * Read a path as JSON.
 * @template {string} P
 * @param {P} path
 * @param {Query} [query]
 * @param {CallOptions} [options]
 * @returns {Promise<AnswerTo<P>>}
 */
export async function get(path, query = {}, options = {}) {
  const answer = await call("GET", path, { query, ...options });
  return answer.json();
}

/**
 * Send a command and return the answer.
 *
 * It has a key: where the connection broke or no answer came in time it is sent once more with the same key, and acts
 * once all the same.
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 * @param {Query} [query]
 * @returns {Promise<any>} the answer of whichever command it is
 */
export async function send(method, path, body, query = {}) {
  const headers = { "Idempotency-Key": crypto.randomUUID ? crypto.randomUUID() : randomKey() };
  try {
    return await answered(method, path, { body, query, headers });
  } catch (error) {
    if (!(error instanceof ApiError) || ![0, 504].includes(error.status)) throw error;
    return answered(method, path, { body, query, headers });
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {CallOptions} options
 */
async function answered(method, path, options) {
  const answer = await call(method, path, options);
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}

// `randomUUID` exists on secure origins alone.
function randomKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, "0")).join("");
}

/** Return a password as the API wants it: UTF-8 in base64. @param {string} password */
export function sealed(password) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(password)));
}

/**
 * Read messages of a stream of Server-Sent Events until it ends.
 * @param {Response} answer
 * @param {(message: StreamEvent) => void} onMessage
 * @param {() => void} onBytes called for whatever comes, comments too
 */
export async function readEvents(answer, onMessage, onBytes) {
  if (!answer.body) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    onBytes();
    text += value;
    let from = 0, end;
    while ((end = text.indexOf("\n\n", from)) >= 0) {
      const message = parsed(text.slice(from, end));
      from = end + 2;
      if (message) onMessage(message);
    }
    text = text.slice(from);
  }
}

/**
 * @param {string} block
 * @returns {StreamEvent?}
 */
function parsed(block) {
  /** @type {Record<string, string> & StreamEvent} */
  const message = { event: "", id: "", data: "" };
  for (const line of block.split("\n")) {
    const at = line.indexOf(":"), key = line.slice(0, at);
    if (at > 0 && key in message) message[key] += line.slice(at + 1).replace(/^ /, "");
  }
  return message.event || message.data ? message : null;
}
