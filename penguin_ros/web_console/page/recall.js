// SPDX-License-Identifier: Apache-2.0
// What a memory node remembers, where one runs.

import { byId, el, replace, safe } from "./dom.js";
import { shown } from "./times.js";

const KINDS = ["caption", "answer", "event"];

export class RecallPanel {
  constructor(connection) {
    this.connection = connection;
    byId("recall").addEventListener("submit", (event) => {
      event.preventDefault();
      this.find();
    });
  }

  available(hasMemory) {
    byId("recall-section").hidden = !hasMemory;
  }

  async find() {
    const form = new FormData(byId("recall"));
    const told = byId("recall-told");
    told.textContent = "…";
    try {
      const fields = { words: form.get("words"), last: 3600 * (Number(form.get("last")) || 0) };
      const { entries } = await this.connection.ask("recall", fields).reply;
      told.textContent = entries.length ? `${entries.length} found` : "nothing found";
      replace(byId("recalled"), ...entries.map((entry) => this.item(entry)));
    } catch (error) {
      told.textContent = safe(error.message);
    }
  }

  item(entry) {
    const place = entry.pose?.pose.position;
    const where = entry.has_pose ? ` · at ${place.x.toFixed(1)}, ${place.y.toFixed(1)}` : "";
    return el("li", {}, el("p", { class: "soft" }, `${shown(entry.end)} · ${safe(entry.camera)} · ${KINDS[entry.kind]}${where}`),
      el("p", { class: "text" }, safe((entry.question ? entry.question + " " : "") + entry.text)));
  }
}
