// SPDX-License-Identifier: Apache-2.0
// The question box: the answer as it grows, then with the frames it saw, its phases and probabilities.

import { byId, el, replace, safe, words } from "./dom.js";
import { probabilities } from "./entries.js";
import { opened } from "./evidence.js";

export class Ask {
  constructor(connection, cameras) {
    this.connection = connection;
    this.cameras = cameras;
    this.running = null;
    byId("ask").addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
    byId("cancel").addEventListener("click", () => this.cancel());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.cancel();
    });
  }

  cancel() {
    if (this.running !== null) this.connection.send("cancel", { request: this.running });
  }

  async ask() {
    const form = new FormData(byId("ask"));
    const { node, camera } = this.cameras.chosen();
    const fields = { question: form.get("question"), camera, node, last: Number(form.get("last")) || 0, choices: words(form.get("choices")) };
    this.cancel();
    replace(byId("answer"));
    byId("growing").textContent = "…";
    const { id, reply } = this.connection.ask("ask", fields, (piece) => {
      if (this.running === id) byId("growing").textContent = safe(piece.text);
    });
    this.running = id;
    byId("cancel").disabled = false;
    try {
      const { answer } = await reply;
      if (this.running === id) this.show(node, answer);
    } catch (error) {
      if (this.running === id) this.fail(error);
    } finally {
      if (this.running === id) {
        this.running = null;
        byId("cancel").disabled = true;
      }
    }
  }

  fail(error) {
    const grown = byId("growing").textContent;
    byId("growing").textContent = grown === "…" ? "" : grown;
    replace(byId("answer"), el("p", { class: "text error" }, safe(error.message)));
  }

  show(node, answer) {
    byId("growing").textContent = safe(answer.text);
    const failed = answer.error_code ? el("p", { class: "text error" }, safe(answer.error_message)) : null;
    replace(byId("answer"), failed, probabilities(answer), ...opened(node, answer.evidence));
  }
}
