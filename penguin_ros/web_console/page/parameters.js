// SPDX-License-Identifier: Apache-2.0
// The node's parameters with range and meaning; those that can change now can be changed.

import { byId, el, replace, safe } from "./dom.js";

export class Parameters {
  constructor(connection, cameras) {
    this.connection = connection;
    this.cameras = cameras;
    byId("load-parameters").addEventListener("click", () => this.load());
  }

  async load() {
    const node = this.cameras.chosen().node ?? "";
    try {
      const { parameters } = await this.connection.ask("parameters", { node }).reply;
      replace(byId("parameters"), el("div", { class: "scroll", tabindex: "0" }, el("table", {}, el("tbody", {}, ...parameters.map((one) => this.row(node, one))))));
      this.tell(`${parameters.length} parameters of ${node}`, "ok");
    } catch (error) {
      this.tell(error.message, "error");
    }
  }

  tell(text, kind) {
    byId("parameter-told").textContent = safe(text);
    byId("parameter-told").className = kind;
  }

  row(node, one) {
    const range = one.range ? ` (${one.range[0]} to ${one.range[1]})` : "";
    return el("tr", {}, el("th", { scope: "row" }, safe(one.name)), el("td", {}, this.value(node, one)),
      el("td", { class: "soft" }, safe(one.text) + range));
  }

  value(node, one) {
    const fixed = one.read_only || Array.isArray(one.value) || one.value === null;
    if (fixed) return el("span", {}, safe(JSON.stringify(one.value)));
    const kind = typeof one.value;
    const input = el("input", { "aria-label": one.name, type: kind === "boolean" ? "checkbox" : kind === "number" ? "number" : "text", step: "any" });
    if (kind === "boolean") input.checked = one.value;
    else input.value = one.value;
    input.addEventListener("change", async () => {
      const value = kind === "boolean" ? input.checked : kind === "number" ? Number(input.value) : input.value;
      try {
        await this.connection.ask("set_parameter", { node, name: one.name, value }).reply;
        this.tell(`${one.name} is ${value}`, "ok");
      } catch (error) {
        this.tell(error.message, "error");
      }
    });
    return input;
  }
}
