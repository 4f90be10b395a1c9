/** Dialogs and notices: how the page asks and tells, and the parts that dialogs are made of. */

import { ApiError } from "./api.js";
import { button, field as labelled, glyph, h, name, num } from "./elements.js";

/** Show a short notice. @param {string} text */
export function toast(text) {
  const notice = h("div", { class: "toast", dir: "auto" }, text);
  document.getElementById("toasts")?.append(notice);
  setTimeout(() => notice.remove(), 6000);
}

/**
 * Ask with a dialog.
 * @param {Kid} title
 * @param {Kid} body
 * @param {string?} label of the button that does it; null: there is only one to close
 * @param {((form: any) => Promise<string | void> | string | void)?} action with the form and its fields by name; returns or throws the reason why it cannot be
 * @param {{kind?: string, no?: string}} [options]
 */
export function ask(title, body, label, action, { kind = "primary", no = "Go back" } = {}) {
  const before = document.activeElement, error = h("p", { class: "err", role: "alert", hidden: true, dir: "auto" });
  const yes = label ? /** @type {HTMLButtonElement} */ (h("button", { class: `btn ${kind}`, type: "submit" }, label)) : null;
  const form = /** @type {HTMLFormElement} */ (h("form", { method: "dialog" }, h("h2", { id: "dialog-title" }, title), body, error,
    h("div", { class: "foot" }, button(no, "closeDialog"), yes)));
  const dialog = /** @type {HTMLDialogElement} */ (h("dialog", { "aria-labelledby": "dialog-title" }, form));
  document.getElementById("dialogs")?.append(dialog);
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (before instanceof HTMLElement && before.isConnected) before.focus();
  });
  form.addEventListener("submit", async event => {
    event.preventDefault();
    if (!yes || !action || yes.disabled) return;
    yes.disabled = true;
    const why = await reason(() => action(form));
    yes.disabled = false;
    error.hidden = !why;
    error.textContent = why || "";
    if (!why) dialog.close();
  });
  dialog.showModal();
  const first = ["[autofocus]", "input, textarea", ".foot .btn"].map(one => dialog.querySelector(one)).find(Boolean);
  if (first instanceof HTMLElement) first.focus();
}

/** @param {() => Promise<string | void> | string | void} action */
async function reason(action) {
  try {
    return (await action()) || "";
  } catch (error) {
    if (error instanceof ApiError) return error.message;
    throw error;
  }
}

/**
 * Return a line about what a command touches, with the sign of a state.
 * @param {string} state
 * @param {...Kid} text
 */
export const line = (state, ...text) => h("li", null, glyph(state), h("span", null, text));
/** @param {...Kid} lines */
export const touched = (...lines) => h("ul", { class: "touch" }, lines);
/**
 * @param {Kid} label
 * @param {HTMLElement} input
 * @param {Kid} [note]
 */
export const field = (label, input, note) => labelled("dialog", label, input, note);
/** @param {...Kid} parts */
export const body = (...parts) => h("div", { class: "stack16" }, parts);
/**
 * @param {string} key
 * @param {string} value
 * @param {Kid} label
 * @param {Kid} note
 * @param {boolean} [checked]
 */
export const option = (key, value, label, note, checked) =>
  h("label", { class: "opt" }, h("input", { type: "radio", name: key, value, checked }), h("span", null, label), h("small", null, note));
/**
 * @param {string} type
 * @param {string} key
 * @param {Props} [more]
 */
export const input = (type, key, more = {}) => h("input", { type, name: key, autocomplete: type === "password" ? "new-password" : "off", ...more });
/** @param {number} id */
export const confirmation = id =>
  field(["Type ", h("b", { class: "mono" }, id), " to confirm"], input("text", "confirmed", { inputmode: "numeric", autofocus: true }));

/** Return the first names of a list, and how many more there are. @param {string[]} names */
export function some(names) {
  const shown = names.slice(0, 4).map((one, i) => [i ? ", " : "", name(one)]);
  return [shown, names.length > 4 ? ` and ${num(names.length - 4)} more` : ""];
}

/** Put a text onto the clipboard. @param {string} text */
export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Without a secure origin there is only the old way.
  const area = /** @type {HTMLTextAreaElement} */ (h("textarea", { class: "sr", "aria-hidden": "true" }));
  area.value = text;
  (document.querySelector("dialog[open]") || document.body).append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
