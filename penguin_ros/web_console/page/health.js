// SPDX-License-Identifier: Apache-2.0
// Status and diagnostics in words, the worst first, with what mends it.

import { byId, el, replace, safe } from "./dom.js";

const LEVELS = ["OK", "WARN", "ERROR", "STALE"];
const COLOURS = ["ok", "warn", "error", "warn"];

export class Health {
  constructor() {
    this.found = new Map();
    this.models = new Map();
  }

  diagnostics(message) {
    this.found.set(message.name, message);
    this.show();
  }

  model({ node, model_info: info }) {
    this.models.set(node, `${safe(info.name ?? info.model_name ?? "")} on ${safe(info.backend ?? "")}`);
    this.show();
  }

  forget(nodes) {
    for (const name of this.found.keys()) {
      const node = name.split(/[: ]/)[0];
      if (node.startsWith("/") && !nodes.includes(node)) this.found.delete(name);
    }
    this.show();
  }

  show() {
    const all = [...this.found.values()].sort((a, b) => b.level - a.level || a.name.localeCompare(b.name));
    const rows = all.map((one) => el("tr", {},
      el("th", { scope: "row" }, safe(one.name)),
      el("td", { class: COLOURS[one.level] ?? "warn" }, LEVELS[one.level] ?? "?"),
      el("td", {}, safe(one.message), this.values(one))));
    const models = [...this.models].map(([node, text]) => el("p", { class: "soft" }, `${safe(node)}: ${text}`));
    const open = new Set([...byId("health").querySelectorAll("details[open]")].map((item) => item.dataset.name));
    replace(byId("health"), ...models, rows.length ? el("div", { class: "scroll", tabindex: "0" }, el("table", {}, el("tbody", {}, ...rows))) : el("p", { class: "empty" }, "Nothing heard yet."));
    for (const item of byId("health").querySelectorAll("details")) item.open = open.has(item.dataset.name);
  }

  values(one) {
    if (!one.values.length) return null;
    return el("details", { "data-name": one.name }, el("summary", {}, `values of ${safe(one.name)}`),
      ...one.values.map(([key, value]) => el("p", { class: "soft" }, `${safe(key)}: ${safe(value)}`)));
  }
}
