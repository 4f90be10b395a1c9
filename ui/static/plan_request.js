/** The form of a plan as a request of the API. */

/** What the form holds before anybody changed it. */
export const EMPTY = {
  release: "", purpose: "install", target: "fleet", group: "", selector: "", names: "", leftNames: "", leftSelector: "",
  width: "", mode: "stages", order: "by-id", canaries: "", soak: "", gate: false, failures: "", beyond: "pause", alarms: false,
};

/** Return names that stand in a text with commas or spaces between them. @param {string} text */
export const namesIn = text => text.split(/[\s,]+/).filter(Boolean);

/** Return a number or percentage as the API wants it; undefined without one. @param {string} text */
function amount(text) {
  const given = text.trim();
  if (!given) return undefined;
  return /^\d+$/.test(given) ? Number(given) : given;
}

/**
 * Return the request of a preview, which is that of the creation but for the password and the digest.
 *
 * Only what somebody chose is in it: all else is as groups and the installation say. Faults are the API's to find.
 * @param {PlanForm} form
 */
export function requestOf(form) {
  /** @type {Record<string, any>} */
  const request = { type: "prestage" };
  if (form.release) request.release = form.release;
  if (form.purpose === "deploy") request.for_sw_deploy = true;
  if (form.target === "group" && form.group) request.group = form.group;
  if (form.target === "selector" && form.selector.trim()) request.selector = form.selector.trim();
  if (form.target === "names") Object.assign(request, { clouds: namesIn(form.names), "skip-ineligible": true });
  /** @type {{clouds?: string[], selector?: string}} */
  const exclude = {};
  if (form.leftNames.trim()) exclude.clouds = namesIn(form.leftNames);
  if (form.leftSelector.trim()) exclude.selector = form.leftSelector.trim();
  if (Object.keys(exclude).length) request.exclude = exclude;
  if (form.width.trim()) request["max-parallel-subclouds"] = amount(form.width);
  if (form.alarms) request.force = true;
  const rollout = rolloutOf(form);
  if (Object.keys(rollout).length) request.rollout = rollout;
  return request;
}

/** @param {PlanForm} form */
function rolloutOf(form) {
  /** @type {Record<string, any>} */
  const rollout = {};
  const failures = amount(form.failures);
  if (failures !== undefined) Object.assign(rollout, { "max-failures": failures, "on-budget": form.beyond });
  if (form.mode !== "window") return rollout;
  rollout.mode = "window";
  if (form.order !== "by-id") rollout.order = form.order;
  const canaries = amount(form.canaries);
  if (!canaries) return rollout;
  /** @type {Record<string, any>} */
  const stage = { name: "canary", count: canaries };
  const minutes = amount(form.soak);
  if (minutes) stage["soak-s"] = typeof minutes === "number" ? minutes * 60 : minutes;
  if (form.gate) stage.gate = "approval";
  rollout.stages = [stage];
  return rollout;
}

/** Return why the form cannot be asked about yet, as a sentence; null: it can. @param {PlanForm} form */
export function missingIn(form) {
  if (form.target === "group" && !form.group) return "Choose a group.";
  if (form.target === "selector" && !form.selector.trim()) return "Give labels, such as region=eu,tier!=gold.";
  if (form.target === "names" && !namesIn(form.names).length) return "Give the names of the sites.";
  return null;
}
