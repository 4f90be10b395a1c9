/** The pane of the login: a token, a name and password of Keystone, or a link that works once. */

import { ApiError, call, get } from "../api.js";
import { button, field as labelled, h, logo } from "../elements.js";

// The code of a link, `/ui/login#CODE`; addresses of panes begin with a slash.
const CODE = /^#[A-Za-z0-9_-]{20,200}$/;

/** Return the form. @param {Page} page */
export function render(page) {
  const own = page.own("login"), { error, hasUsers } = own, kind = kindOf(own), isKeystone = kind === "keystone";
  /**
   * @param {string} id
   * @param {string} word
   */
  const way = (id, word) => button(word, "loginKind", { data: { kind: id }, "aria-pressed": String(kind === id) });
  return h("div", { "data-key": `login${kind}` }, h("form", { class: "login", "data-submit": "enter" },
    h("h1", { class: "brand" }, logo(), "Prestager"),
    h("p", { class: "sub" }, h("bdi", null, location.host)),
    hasUsers ? h("div", { class: "seg s", role: "group", "aria-label": "How you log in" }, way("keystone", "Name and password"), way("token", "Token")) : null,
    isKeystone ? keystone() : token(),
    h("p", { class: "err", role: "alert", id: "login-error", dir: "auto" }, error || ""),
    button("Log in", "nothing", { kind: "primary", type: "submit" }),
    h("p", { class: "dim" }, "The session is kept in a cookie that scripts cannot read, for eight hours at most. Work at the sites does not need you to be logged in.")));
}

/**
 * @param {Kid} label
 * @param {HTMLElement} input
 * @param {Kid} [note]
 */
const field = (label, input, note) => labelled("login", label, input, note);

/** @param {Own["login"]} own */
const kindOf = own => own.kind || (own.hasUsers ? "keystone" : "token");

function token() {
  const input = h("input", { type: "password", name: "token", autocomplete: "current-password", required: true, "aria-describedby": "login-error" });
  return field("Token", input, ["Made with ", h("code", null, "prestager token create")]);
}

function keystone() {
  return [
    field("Name", h("input", { type: "text", name: "username", autocomplete: "username", required: true, autocapitalize: "none", spellcheck: "false" })),
    field("Password", h("input", { type: "password", name: "password", autocomplete: "current-password", required: true, "aria-describedby": "login-error" })),
    field("Project", h("input", { type: "text", name: "project", value: "admin", required: true, autocapitalize: "none", spellcheck: "false" })),
  ];
}

/** Ask how people log in here, and open the first field for typing. @param {Page} page */
export function enter(page) {
  focusFirst();
  if (page.own("login").hasUsers === undefined) void learnWays(page);
}

const focusFirst = () => queueMicrotask(() => /** @type {HTMLElement?} */ (document.querySelector(".login input"))?.focus());

/** @param {Page} page */
async function learnWays(page) {
  try {
    page.own("login").hasUsers = (await get("/ui/session")).auth === "keystone";
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return;
  }
  page.render();
  focusFirst();
}

/**
 * @param {Page} page
 * @param {object} content
 */
async function begin(page, content) {
  const own = page.own("login");
  own.error = "";
  try {
    await call("POST", "/ui/session", { body: content });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    own.error = error.message;
    if (page.pane !== "login") location.hash = "#/login";
    return page.render();
  }
  page.state.restart();
  const back = own.back && !own.back.startsWith("#/login") ? own.back : "#/overview";
  own.back = "";
  location.hash = back;
}

/**
 * Log in by the link that opened the page, if one did, and take its code out of the address and the history at once.
 * @returns {Promise<void>}
 * @param {Page} page
 */
export async function redeem(page) {
  if (!location.pathname.endsWith("/login")) return;
  const code = CODE.test(location.hash) ? location.hash.slice(1) : "";
  window.history.replaceState(null, "", "/ui#/login");
  if (code) await begin(page, { code });
}

/** @type {Acts} */
export const acts = {
  nothing: () => {},
  loginKind(page, { kind }) {
    Object.assign(page.own("login"), { kind, error: "" });
    page.render();
    focusFirst();
  },
  async enter(page, data, form) {
    if (kindOf(page.own("login")) === "token") return begin(page, { token: form.token.value.trim() });
    const { username, password, project } = form;
    return begin(page, { username: username.value, password: password.value, project: project.value });
  },
};
