// SPDX-License-Identifier: Apache-2.0
// The node's parameters with range and meaning; those that can change now can be changed.

import { byId, el, isReadOnly, replace, safe, tell } from "./dom.js";

export class Parameters {
  constructor(connection, cameras) {
    this.connection = connection;
    this.cameras = cameras;
    this.all = [];
    byId("load-parameters").addEventListener("click", () => this.load());
    for (const id of ["parameter-search", "parameter-live"]) byId(id).addEventListener("input", () => this.show());
  }

  async load() {
    this.node = this.cameras.chosen().node;
    try {
      this.all = (await this.connection.ask("parameters", { node: this.node }).reply).parameters;
      this.show();
    } catch (error) {
      tell("parameter-told", error.message, "error");
    }
  }

  show() {
    const wanted = byId("parameter-search").value.toLowerCase();
    const found = this.all.filter((one) => (one.is_live || !byId("parameter-live").checked) && `${one.name} ${one.text}`.toLowerCase().includes(wanted));
    replace(byId("parameters"), ...found.map((one) => this.row(one)));
    tell("parameter-told", `${found.length} of ${this.all.length} parameters of ${this.node}`);
  }

  row(one) {
    const range = one.range ? `${one.range[0]} to ${one.range[1]}` : one.constraints;
    return el("div", { class: "finding" }, el("h3", {}, safe(one.name)), this.value(one),
      el("p", { class: "soft" }, safe(one.text), range ? ` Range: ${safe(range)}.` : ""));
  }

  value(one) {
    const kind = typeof one.value;
    if (!one.is_live || kind === "object") return el("p", {}, safe(JSON.stringify(one.value)));
    const choices = one.constraints?.startsWith("one of ") ? one.constraints.slice(7).split(", ") : null;
    const input = choices
      ? el("select", {}, ...choices.map((choice) => el("option", { value: choice, selected: choice === one.value }, safe(choice))))
      : el("input", { type: kind === "boolean" ? "checkbox" : kind === "number" ? "number" : "text", min: one.range?.[0], max: one.range?.[1], step: "any" });
    input.setAttribute("aria-label", one.name);
    input.disabled = isReadOnly();
    if (kind === "boolean") input.checked = one.value;
    else input.value = one.value;
    input.addEventListener("change", () => {
      if (kind !== "number") this.set(one, kind === "boolean" ? input.checked : input.value);
      else if (input.value === "") tell("parameter-told", `${one.name} takes a number`, "error");
      else this.set(one, Number(input.value));
    });
    return input;
  }

  async set(one, value) {
    try {
      await this.connection.ask("set_parameter", { node: this.node, name: one.name, value }).reply;
      one.value = value;
      tell("parameter-told", `${one.name} is ${value}`);
    } catch (error) {
      tell("parameter-told", error.message, "error");
    }
  }
}
