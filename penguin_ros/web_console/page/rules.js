// SPDX-License-Identifier: Apache-2.0
// Rules: how each is doing with its probability over time, and a form to set, change, test and remove them.

import { byId, el, isReadOnly, place, safe, svg, tell, words } from "./dom.js";
import { seconds, shown } from "./times.js";

const STATES = ["inactive", "pending", "ACTIVE", "healing", "unknown", "disabled"];
const COLOURS = ["soft", "warn", "error", "warn", "warn", "soft"];
const ORDER = [4, 2, 0, 1, 3, 5];
const MOST = 240;
const KNOWN_MS = 10000; // so long what a rule says is taken for known: others may change it

// Fields that few rules need: name, words, kind. Zero and nothing stand for the node's own settings.
const FIELDS = [
  ["cameras", "Cameras (all)", "words"], ["choices", "Choices (yes, no)", "words"], ["firing_choice", "Choice that counts", "text"],
  ["threshold_begin", "Begins at probability", "part"], ["threshold_end", "Ends below", "part"],
  ["confirm_count", "Confirmed by", "count"], ["confirm_window", "of the last", "count"],
  ["heal_count", "Ended by", "count"], ["heal_window", "of the last (ending)", "count"],
  ["clip", "Seconds looked at", "number"], ["min_duration", "Must hold for (s)", "number"], ["cooldown", "Pause after an event (s)", "number"],
  ["valid_times", "When (always)", "words"], ["is_disabled", "switched off", "box"], ["is_uncalibrated", "not calibrated", "box"],
];
const ATTRIBUTES = { words: {}, text: {}, part: { type: "number", min: 0, max: 1, step: 0.01 }, count: { type: "number", min: 0, step: 1 }, number: { type: "number", min: 0, step: 0.1 } };

export class Rules {
  constructor(connection, cameras) {
    this.connection = connection;
    this.cameras = cameras;
    this.form = byId("rule-form");
    this.states = new Map(); // node: its states
    this.rules = new Map(); // node: its rules by id
    this.listing = new Map(); // node: what it is asked for now
    this.series = new Map();
    this.edited = null;
    this.rows = new Map();
    this.none = el("p", { class: "empty" }, "No rule.");
    byId("rule-fields").append(...FIELDS.map(([name, text, kind]) => field(name, text, kind)));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.run("set_rule", (reply) => (reply.is_replaced ? "changed" : "set"));
    });
    this.form.addEventListener("reset", () => (this.edited = null));
    byId("rule-test").addEventListener("click", () => {
      if (this.form.reportValidity()) this.run("test_rule", (reply) => `probability ${reply.probability.toFixed(3)}: would ${reply.reaches_begin ? "" : "not "}fire`);
    });
  }

  again() {
    this.rows.clear(); // the console may be read-only now
    this.rules.clear();
    this.series.clear();
  }

  fields() {
    const form = new FormData(this.form);
    const id = form.get("id");
    const rule = this.edited?.id === id ? { ...this.edited } : { id };
    Object.assign(rule, { condition: form.get("condition"), period: Number(form.get("period")) || 0, severity: Number(form.get("severity")), wants_picture: form.has("wants_picture") });
    for (const [name, , kind] of FIELDS) {
      const value = form.get(name);
      rule[name] = kind === "box" ? form.has(name) : kind === "words" ? words(value) : kind === "text" ? value : Number(value) || 0;
    }
    return rule;
  }

  async run(name, told) {
    const { node, camera } = this.cameras.chosen();
    const fields = { node: this.edited?.node ?? node, rule: this.fields() };
    delete fields.rule.node;
    if (name === "test_rule") fields.camera = camera;
    tell("rule-told", "…");
    try {
      tell("rule-told", told(await this.connection.ask(name, fields).reply));
      this.rules.delete(fields.node);
    } catch (error) {
      tell("rule-told", error.message, "error");
    }
  }

  async remove(node, rule) {
    try {
      await this.connection.ask("remove_rule", { node, rule }).reply;
    } catch (error) {
      tell("rule-told", error.message, "error");
    }
  }

  async edit(node, id) {
    const rule = (await this.listed(node)).get(id);
    this.draw();
    if (!rule) return tell("rule-told", `${node} has no rule ${id}`, "error");
    this.form.reset();
    this.edited = { ...rule, node };
    for (const [name, value] of Object.entries(rule)) {
      const input = this.form.elements[name];
      if (!input) continue;
      if (input.type === "checkbox") input.checked = value;
      else if (typeof value === "number" && input.type === "number") input.value = value ? Number(value.toFixed(4)) : "";
      else input.value = Array.isArray(value) ? value.join(", ") : value;
    }
    byId("new-rule").open = true;
    this.form.elements.condition.focus();
  }

  // The rules as they are now; who asks meanwhile gets the same.
  listed(node) {
    if (!this.listing.has(node)) this.listing.set(node, this.list(node).finally(() => this.listing.delete(node)));
    return this.listing.get(node);
  }

  async list(node) {
    const { rules } = await this.connection.ask("rules", { node }).reply.catch(() => ({ rules: [] }));
    const listed = new Map(rules.map((rule) => [rule.id, rule]));
    listed.at = performance.now();
    this.rules.set(node, listed);
    return listed;
  }

  async show({ node, rule_states: { states } }) {
    this.states.set(node, states);
    const known = this.rules.get(node);
    const isOld = !known || performance.now() - known.at > KNOWN_MS || states.some(({ rule }) => !known.has(rule));
    if (isOld && states.length) this.listed(node).then(() => this.draw());
    if (!known && states.length) {
      const { series } = await this.connection.ask("series", { node }).reply.catch(() => ({ series: [] }));
      for (const { rule, camera, points } of series) this.series.set(key(node, { rule, camera }), points.map(([stamp, value]) => ({ stamp, value })));
    }
    for (const state of states) {
      const points = this.series.get(key(node, state)) ?? [];
      if (Number(state.evaluated) && points.at(-1)?.stamp !== state.evaluated) points.push({ stamp: state.evaluated, value: state.probability });
      this.series.set(key(node, state), points.slice(-MOST));
    }
    this.draw();
  }

  forget(nodes) {
    for (const node of this.states.keys()) if (!nodes.includes(node)) this.states.delete(node);
    this.draw();
  }

  draw() {
    const all = [...this.states].flatMap(([node, states]) => states.map((state) => [node, state]));
    all.sort(([, a], [, b]) => ORDER[a.state] - ORDER[b.state] || a.rule.localeCompare(b.rule)); // what fires stands first
    const known = new Set(all.map(([node, state]) => key(node, state)));
    for (const name of this.rows.keys()) if (!known.has(name)) this.rows.delete(name);
    const rows = all.map(([node, state]) => this.row(node, state));
    place(byId("rules"), rows.length ? rows : [this.none]);
  }

  // A row stays as it is, so that its buttons can be pressed; only what it tells changes.
  row(node, state) {
    const name = key(node, state);
    if (!this.rows.has(name)) this.rows.set(name, this.made(node, state));
    const { element, head, condition, chart, told, reason } = this.rows.get(name);
    const rule = this.rules.get(node)?.get(state.rule);
    head.className = COLOURS[state.state];
    head.textContent = STATES[state.state];
    condition.textContent = safe(rule?.condition ?? condition.textContent);
    chart.replaceChildren(spark(this.series.get(name) ?? [], rule?.threshold_begin || 0.5));
    told.textContent = Number(state.evaluated) ? `${state.probability.toFixed(2)} at ${shown(state.evaluated, Date.now())}` : "not evaluated yet";
    reason.textContent = safe(state.reason);
    return element;
  }

  made(node, state) {
    const name = `${safe(state.rule)} on ${safe(state.camera)}`;
    const parts = { head: el("span"), condition: el("p", { class: "text" }), chart: el("span"), told: el("span", { class: "soft" }), reason: el("p", { class: "soft" }) };
    const button = (text, label, act) => el("button", { type: "button", class: "plain", "aria-label": `${label} the rule ${name}`, disabled: isReadOnly(), onclick: act }, text);
    const element = el("div", { class: "finding rule", "data-rule": state.rule },
      el("h3", {}, safe(state.rule), " ", parts.head, el("span", { class: "soft" }, ` · ${safe(state.camera)} of ${safe(node)}`)),
      parts.condition,
      el("div", { class: "row" }, parts.chart, parts.told, el("span", { class: "pair" },
        button("Change", "change", () => this.edit(node, state.rule)), button("Remove", "remove", () => this.remove(node, state.rule)))),
      parts.reason);
    return { element, ...parts };
  }
}

const key = (node, state) => `${node} ${state.rule} ${state.camera}`;

function field(name, text, kind) {
  if (kind === "box") return el("label", {}, el("input", { type: "checkbox", name }), " " + text);
  return el("label", {}, text + " ", el("input", { name, autocomplete: "off", ...ATTRIBUTES[kind] }));
}

// Probability over time; the dashed line is where the rule begins to fire.
function spark(points, threshold) {
  const from = seconds(points[0]?.stamp);
  const lasts = seconds(points.at(-1)?.stamp) - from || 1;
  const y = (value) => (39 - 38 * value).toFixed(1);
  const path = points.map((point, i) => `${i ? "L" : "M"}${(200 * (seconds(point.stamp) - from) / lasts).toFixed(1)} ${y(point.value)}`).join("");
  const said = points.length ? `probability from ${points[0].value.toFixed(2)} to ${points.at(-1).value.toFixed(2)} in ${points.length} evaluations over ${lasts.toFixed(0)} s` : "not evaluated yet";
  return svg("svg", { class: "spark", viewBox: "0 0 200 40", preserveAspectRatio: "none", role: "img", "aria-label": said },
    svg("line", { x1: 0, x2: 200, y1: y(threshold), y2: y(threshold) }), svg("path", { d: path }));
}
