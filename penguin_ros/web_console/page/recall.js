// SPDX-License-Identifier: Apache-2.0
// What a memory node remembers, where one runs: text, time, place and picture.

import { byId, el, kept, safe, tell } from "./dom.js";
import { shown } from "./times.js";

const KINDS = ["caption", "answer", "event"];

export class RecallPanel {
  constructor(connection, cameras) {
    this.connection = connection;
    this.cameras = cameras;
    byId("recall").addEventListener("submit", (event) => {
      event.preventDefault();
      this.find("");
    });
    byId("recall-more").addEventListener("click", () => this.find(this.page));
  }

  available(hasMemory) {
    byId("recall-section").hidden = !hasMemory;
  }

  async find(page) {
    const form = new FormData(byId("recall"));
    tell("recall-told", "…");
    try {
      const fields = { node: this.cameras.chosen().node, words: form.get("words"), last: 3600 * (Number(form.get("last")) || 0), page };
      const { entries, next_page } = await this.connection.ask("recall", fields).reply;
      this.page = next_page;
      byId("recall-more").hidden = !next_page;
      if (!page) byId("recalled").replaceChildren();
      byId("recalled").append(...entries.map((entry) => this.item(entry)));
      tell("recall-told", `${byId("recalled").children.length} found${next_page ? ", there are more" : ""}`);
    } catch (error) {
      tell("recall-told", error.message, "error");
    }
  }

  item(entry) {
    const place = entry.pose?.pose.position;
    const where = entry.has_pose ? ` · at ${place.x.toFixed(1)}, ${place.y.toFixed(1)} m in ${safe(entry.pose.header.frame_id)}` : "";
    return el("li", {}, el("p", { class: "soft" }, `${shown(entry.end)} · ${safe(entry.camera)} · ${KINDS[entry.kind]}${where}`),
      entry.picture.length ? kept("recalled", entry.camera, entry.id, `what ${safe(entry.camera)} showed then`) : null,
      el("p", { class: "text" }, safe((entry.question ? entry.question + " " : "") + entry.text)));
  }
}
