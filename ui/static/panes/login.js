/** The pane of the login: a token. */

import { ApiError, call } from "../api.js";
import { button, h, logo } from "../elements.js";

/** Return the form. */
export function render(page) {
  const { error } = page.own("login");
  return h("div", { "data-key": "login" }, h("form", { class: "login", "data-submit": "enterToken" },
    h("h1", { class: "brand" }, logo(), "Prestager"),
    h("label", { class: "field" }, h("span", null, "Token"),
      h("input", { type: "password", name: "token", autocomplete: "current-password", required: true })),
    h("p", { class: "err", role: "alert" }, error || ""),
    button("Log in", "nothing", { kind: "primary", type: "submit" })));
}

export const acts = {
  nothing: () => {},
  async enterToken(page, data, form) {
    try {
      await call("POST", "/ui/session", { body: { token: form.token.value } });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      page.own("login").error = error.message;
      return page.render();
    }
    page.own("login").error = "";
    page.state.restart();
    location.hash = "#/overview";
  },
};
