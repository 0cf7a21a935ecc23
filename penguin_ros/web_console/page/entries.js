// SPDX-License-Identifier: Apache-2.0
// The time line: captions, answers and events, newest first, searched and chosen by kind.

import { byId, el, safe } from "./dom.js";
import { evidenceOf } from "./evidence.js";
import { shown } from "./times.js";

const MOST = 2000;
const KINDS = ["begins", "still", "ends", "lost"];
const LEVELS = ["ok", "warn", "error"];

function caption(message) {
  const { caption: said } = message;
  return {
    kind: "caption", words: said.text + " " + said.camera,
    show: () => [said.error_code ? el("p", { class: "text error" }, safe(said.error_message)) : el("p", { class: "text" }, safe(said.text)),
      evidenceOf(message.node, said.evidence)],
    head: `${shown(said.header.stamp)} · ${safe(said.camera)}`,
  };
}

function answer(message) {
  const { answer: said } = message;
  return {
    kind: "answer", words: `${said.question} ${said.text} ${said.camera}`,
    show: () => [el("p", { class: "text" }, el("strong", {}, safe(said.question)), " ", safe(said.error_code ? said.error_message : said.text)),
      probabilities(said), evidenceOf(message.node, said.evidence)],
    head: `${shown(said.evidence.end)} · ${safe(said.camera)} · question`,
  };
}

export function probabilities(said) {
  if (!said.choices?.length) return null;
  const parts = said.choices.map((choice, i) => `${safe(choice)} ${(100 * said.probabilities[i]).toFixed(1)} %`);
  const cannot = said.is_cannot_tell ? "cannot tell; " : "";
  return el("p", { class: "soft" }, `${cannot}${parts.join(", ")}; cannot tell ${(100 * said.cannot_tell).toFixed(1)} %`);
}

function event(message) {
  const { event: said } = message;
  const picture = said.picture[0];
  return {
    kind: "event", words: `${said.rule} ${said.condition} ${said.camera}`,
    show: () => [
      el("p", { class: "text " + LEVELS[said.severity] }, `${safe(said.rule)} ${KINDS[said.kind]}: ${safe(said.condition)} ${safe(said.reason)}`),
      el("p", { class: "soft" }, "probabilities " + said.probabilities.map((p) => p.toFixed(2)).join(", ") + `; peak ${said.peak.toFixed(2)}`),
      picture ? el("img", { width: 240, alt: `key frame at ${shown(picture.stamp)}`, src: `/frame?node=${encodeURIComponent(message.node)}&camera=${encodeURIComponent(said.camera)}&stamp=${picture.stamp}` }) : null,
      evidenceOf(message.node, said.evidence)],
    head: `${shown(said.header.stamp)} · ${safe(said.camera)} · event`,
  };
}

const MAKERS = { caption, answer, event };

export class TimeLine {
  constructor() {
    this.list = byId("line");
    this.search = byId("search");
    this.boxes = [...document.querySelectorAll("input[name=kind]")];
    this.list.addEventListener("keydown", (event) => this.step(event));
    for (const input of [this.search, ...this.boxes]) input.addEventListener("input", () => this.filter());
  }

  add(message) {
    const entry = MAKERS[message.type](message);
    const item = el("li", { "data-kind": entry.kind }, el("p", { class: "soft" }, entry.head), ...entry.show().filter(Boolean));
    for (const summary of item.querySelectorAll("summary")) summary.tabIndex = -1; // reached by arrows
    item.words = entry.words.toLowerCase();
    item.hidden = !this.fits(item);
    this.list.prepend(item);
    while (this.list.children.length > MOST) this.list.lastChild.remove();
  }

  // One stop for the tabulator; arrows go from entry to entry, Enter opens what it rests on.
  step(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by) return;
    const summaries = [...this.list.querySelectorAll("li:not([hidden]) summary")];
    summaries[Math.max(0, summaries.indexOf(document.activeElement) + by)]?.focus();
    event.preventDefault();
  }

  fits(item) {
    const wanted = this.boxes.some((box) => box.checked && box.value === item.dataset.kind);
    return wanted && item.words.includes(this.search.value.toLowerCase());
  }

  filter() {
    for (const item of this.list.children) item.hidden = !this.fits(item);
  }

  clear() {
    this.list.replaceChildren();
  }
}
