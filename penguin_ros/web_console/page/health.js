// SPDX-License-Identifier: Apache-2.0
// Status and diagnostics in words, the worst first, with the command that mends each.

import { byId, el, place, safe } from "./dom.js";

const LEVELS = ["OK", "WARN", "ERROR", "STALE"];
const COLOURS = ["ok", "warn", "error", "warn"];

// Parts of a node that say the same are told once.
function grouped(findings) {
  const groups = new Map();
  for (const one of findings) {
    const [node] = one.name.split(": ");
    const key = [node, one.level, one.message, one.remedy].join("\n");
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  return [...groups.values()].map((group) => {
    const [first, ...rest] = group;
    const names = group.map((one) => one.name.split(": ").slice(1).join(": "));
    return rest.length ? { ...first, values: [], message: `${first.message}. The same of ${rest.length} more: ${names.slice(1).join(", ")}` } : first;
  });
}

export class Health {
  constructor() {
    this.found = new Map();
    this.models = new Map();
    this.open = new Set();
    this.drawn = new Map();
  }

  diagnostics(message) {
    this.found.set(message.name, message);
    this.show();
  }

  model({ node, model_info: info }) {
    const remote = info.endpoints?.length ? `; elsewhere: ${info.endpoints.map((name, i) => `${name} (${info.endpoint_models[i] || "not known yet"})`).join(", ")}` : "";
    this.models.set(node, `${info.name} ${info.digest.slice(0, 12)} on ${info.backend} (${info.device}), ${info.precision}${remote}`);
    this.show();
  }

  forget(nodes) {
    for (const name of this.found.keys()) {
      const node = name.split(/[: ]/)[0];
      if (node.startsWith("/") && !nodes.includes(node)) this.found.delete(name);
    }
    for (const node of this.models.keys()) if (!nodes.includes(node)) this.models.delete(node);
    this.show();
  }

  show() {
    if (this.isDue) return;
    this.isDue = true;
    setTimeout(() => this.draw(), 100); // a node tells about all of its parts at once
  }

  draw() {
    this.isDue = false;
    const all = [...this.found.values()].sort((a, b) => b.level - a.level || a.name.localeCompare(b.name));
    const [bad, good] = [all.filter((one) => one.level), all.filter((one) => !one.level)];
    const shown = [this.line("verdict", bad.length ? COLOURS[bad[0].level] : "ok", all.length ? `${good.length} parts are well${bad.length ? `, ${bad.length} are not` : ""}.` : "Nothing heard yet.")];
    shown.push(...grouped(bad).map((one) => this.entry(one)));
    if (good.length) {
      this.good ??= this.details("good", "What is well", el("div"));
      place(this.good.lastChild, good.map((one) => this.entry(one)));
      shown.push(this.good);
    }
    shown.push(...[...this.models].map(([node, text]) => this.line(node, "soft", `${node}: ${text}`)));
    place(byId("health"), shown);
  }

  line(name, kind, text) {
    return this.kept(`line ${name}`, [kind, text], () => el("p", { class: kind }, safe(text)));
  }

  // An element stays as long as it shows the same; values that nobody has opened do not count.
  kept(name, content, make) {
    const signature = JSON.stringify(content);
    const before = this.drawn.get(name);
    if (before?.signature === signature) return before.element;
    const element = make();
    this.drawn.set(name, { signature, element });
    return element;
  }

  entry(one) {
    const values = one.values.length ? this.kept(`values ${one.name}`, one.values.map(([key]) => key), () => this.details(one.name, `values of ${safe(one.name)}`, el("dl", { class: "facts" }))) : null;
    if (values && (this.open.has(one.name) || !values.lastChild.children.length)) {
      values.lastChild.replaceChildren(...one.values.flatMap(([key, value]) => [el("dt", {}, safe(key)), el("dd", {}, safe(value) || "–")]));
    }
    return this.kept(one.name, [one.level, one.message, one.remedy, one.values.length > 0], () => el("div", { class: "finding" },
      el("h3", {}, el("span", { class: COLOURS[one.level] ?? "warn" }, LEVELS[one.level] ?? "?"), " ", safe(one.name)),
      el("p", { class: "text" }, safe(one.message)),
      one.remedy ? el("p", {}, el("span", { class: "soft" }, "Type: "), el("code", {}, safe(one.remedy))) : null,
      values));
  }

  details(name, summary, ...children) {
    const made = el("details", { "data-name": name, open: this.open.has(name) }, el("summary", {}, summary), ...children);
    made.addEventListener("toggle", () => this.open[made.open ? "add" : "delete"](name));
    return made;
  }
}
