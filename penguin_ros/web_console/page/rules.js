// SPDX-License-Identifier: Apache-2.0
// Rules: how each is doing with its probability over time, and a form to set, test and remove them.

import { byId, el, replace, safe, svg } from "./dom.js";
import { shown } from "./times.js";

const STATES = ["inactive", "pending", "ACTIVE", "healing", "unknown", "disabled"];
const COLOURS = ["soft", "warn", "error", "warn", "warn", "soft"];
const MOST = 120;

export class Rules {
  constructor(connection, cameras) {
    this.connection = connection;
    this.cameras = cameras;
    this.series = new Map();
    byId("rule-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.run("set_rule", (reply) => (reply.is_replaced ? "replaced" : "set"));
    });
    byId("rule-test").addEventListener("click", () =>
      this.run("test_rule", (reply) => `probability ${reply.probability.toFixed(3)}: would ${reply.reaches_begin ? "" : "not "}fire`));
  }

  fields() {
    const form = new FormData(byId("rule-form"));
    return {
      id: form.get("id"), condition: form.get("condition"), period: Number(form.get("period")) || 0,
      severity: Number(form.get("severity")), wants_picture: form.get("wants_picture") === "on",
    };
  }

  async run(name, told) {
    const { node, camera } = this.cameras.chosen();
    const place = byId("rule-told");
    place.textContent = "…";
    const fields = { node: node ?? "", rule: this.fields() };
    if (name === "test_rule") fields.camera = camera ?? "";
    try {
      place.textContent = told(await this.connection.ask(name, fields).reply);
      place.className = "ok";
    } catch (error) {
      place.textContent = safe(error.message);
      place.className = "error";
    }
  }

  async remove(node, rule) {
    try {
      await this.connection.ask("remove_rule", { node, rule }).reply;
    } catch (error) {
      byId("rule-told").textContent = safe(error.message);
    }
  }

  states({ node, rule_states: all }) {
    const rows = all.states.map((state) => this.row(node, state));
    const known = new Set(all.states.map((state) => this.key(node, state)));
    for (const key of this.series.keys()) if (key.startsWith(node + " ") && !known.has(key)) this.series.delete(key);
    const head = ["rule", "camera", "state", "probability", ""].map((text) => el("th", { scope: "col" }, text || el("span", { class: "soft" }, "change")));
    replace(byId("rules"), rows.length
      ? el("div", { class: "scroll", tabindex: "0" }, el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows)))
      : el("p", { class: "empty" }, "No rule."));
  }

  key(node, state) {
    return `${node} ${state.rule} ${state.camera}`;
  }

  row(node, state) {
    const key = this.key(node, state);
    const points = this.series.get(key) ?? [];
    const last = points[points.length - 1];
    if (Number(state.evaluated) && last?.stamp !== state.evaluated) points.push({ stamp: state.evaluated, value: state.probability });
    if (points.length > MOST) points.shift();
    this.series.set(key, points);
    return el("tr", {},
      el("th", { scope: "row" }, safe(state.rule)), el("td", {}, safe(state.camera)),
      el("td", { class: COLOURS[state.state] }, STATES[state.state], state.reason ? el("span", { class: "soft" }, " " + safe(state.reason)) : null),
      el("td", {}, spark(points), el("span", { class: "soft" }, ` ${state.probability.toFixed(2)} at ${shown(state.evaluated)}`)),
      el("td", {}, el("button", { type: "button", "aria-label": `remove the rule ${safe(state.rule)}`, onclick: () => this.remove(node, state.rule) }, "Remove")));
  }
}

function spark(points) {
  const path = points.map((point, i) => `${i ? "L" : "M"}${(i * 100 / Math.max(1, points.length - 1)).toFixed(1)} ${(29 - 28 * point.value).toFixed(1)}`).join("");
  const words = points.length ? `from ${points[0].value.toFixed(2)} to ${points[points.length - 1].value.toFixed(2)} in ${points.length} evaluations` : "not evaluated yet";
  return svg("svg", { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none", role: "img", "aria-label": words },
    svg("line", { x1: 0, x2: 100, y1: 15, y2: 15 }), svg("path", { d: path }));
}
