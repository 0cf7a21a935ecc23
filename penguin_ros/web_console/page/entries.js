// SPDX-License-Identifier: Apache-2.0
// The time line: captions, answers and events, newest first. The server keeps it and searches it; the page has its end.

import { byId, el, kept, safe } from "./dom.js";
import { evidenceOf } from "./evidence.js";
import { shown } from "./times.js";

const MOST = 400;
const SEARCH_MS = 200;
const UNCHANGED = 2;
const KINDS = ["begins", "still", "ends", "lost"];
const LEVELS = ["ok", "warn", "error"];

const caption = {
  stamp: (said) => said.header.stamp,
  words: (said) => said.text,
  show: (said, node) => [
    said.error_code ? el("p", { class: "text error" }, safe(said.error_message)) : el("p", { class: "text" }, safe(said.text)),
    evidenceOf(node, said.evidence)],
};

const answer = {
  stamp: (said) => said.evidence.end,
  words: (said) => said.question + " " + said.text,
  show: (said, node) => [
    el("p", { class: "text" }, el("strong", {}, safe(said.question)), " ", said.error_code ? el("span", { class: "error" }, safe(said.error_message)) : safe(said.text)),
    probabilities(said), evidenceOf(node, said.evidence)],
};

const event = {
  stamp: (said) => said.header.stamp,
  words: (said) => said.rule + " " + said.condition,
  show: (said, node) => [
    el("p", { class: "text " + LEVELS[said.severity] }, `${safe(said.rule)} ${KINDS[said.kind]}: ${safe(said.condition)} ${safe(said.reason)}`),
    said.probabilities.length ? el("p", { class: "soft" }, "probabilities " + said.probabilities.map((p) => p.toFixed(2)).join(", ") + `; peak ${said.peak.toFixed(2)}`) : null,
    said.picture[0] ? kept(node, said.camera, said.picture[0].stamp, `key frame at ${shown(said.picture[0].stamp)}`) : null,
    evidenceOf(node, said.evidence)],
};

const MAKERS = { caption, answer, event };

export function probabilities(said) {
  if (!said.choices?.length) return null;
  const parts = said.choices.map((choice, i) => `${safe(choice)} ${(100 * said.probabilities[i]).toFixed(1)} %`);
  const cannot = said.is_cannot_tell ? "cannot tell; " : "";
  return el("p", { class: "soft" }, `${cannot}${parts.join(", ")}; cannot tell ${(100 * said.cannot_tell).toFixed(1)} %`);
}

export class TimeLine {
  constructor(connection) {
    this.connection = connection;
    this.list = byId("line");
    this.search = byId("search");
    this.older = byId("older");
    this.boxes = [...document.querySelectorAll("input[name=kind]")];
    this.list.addEventListener("keydown", (event) => this.step(event));
    this.list.addEventListener("scroll", () => {
      if (this.list.scrollTop + this.list.clientHeight > this.list.scrollHeight - 80) this.more();
    });
    this.older.addEventListener("click", () => this.more());
    for (const input of [this.search, ...this.boxes]) {
      input.addEventListener("input", () => {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.reload(), SEARCH_MS);
      });
    }
    this.clear();
  }

  clear() {
    this.list.replaceChildren();
    this.hasMore(false);
  }

  hasMore(has) {
    this.older.hidden = !has;
  }

  kinds() {
    return this.boxes.filter((box) => box.checked).map((box) => box.value);
  }

  // A message that has just come.
  add(message) {
    const said = message[message.type];
    const fits = this.kinds().includes(message.type) && `${MAKERS[message.type].words(said)} ${said.camera}`.toLowerCase().includes(this.search.value.toLowerCase());
    if (!fits) return;
    const newest = this.list.firstChild;
    const isSame = message.type === "caption" && newest?.key === keyOf(message) && newest.text === said.text;
    if (isSame && (said.state === UNCHANGED || newest.stamp === said.header.stamp)) return this.extend(newest, message);
    this.list.prepend(this.item(message));
    const most = this.list.scrollTop > 0 ? 5 * MOST : MOST; // older ones that are read stay
    while (this.list.children.length > most) {
      this.list.lastChild.remove();
      this.hasMore(true);
    }
  }

  item(message) {
    const said = message[message.type];
    const maker = MAKERS[message.type];
    const head = el("p", { class: "soft" });
    const item = el("li", { "data-kind": message.type }, head, ...maker.show(said, message.node).filter(Boolean));
    for (const summary of item.querySelectorAll("summary")) summary.tabIndex = -1; // reached by arrows
    Object.assign(item, { key: keyOf(message), text: said.text, number: message.number, count: 1, first: maker.stamp(said), stamp: maker.stamp(said) });
    head.textContent = `${shown(item.stamp, message.heard)} · ${safe(said.camera)} · ${message.type}`;
    return item;
  }

  // The same caption again, since nothing has changed: one entry that lasts.
  extend(item, message) {
    item.count += 1;
    item.stamp = message.caption.header.stamp;
    const until = shown(message.caption.header.stamp, message.heard);
    item.firstChild.textContent = `${until} · ${safe(message.caption.camera)} · caption, ${item.count} times since ${shown(item.first)}`;
  }

  async reload() {
    const { entries, has_more } = await this.fetch(0);
    this.list.replaceChildren(...entries.map((message) => this.item(message)));
    this.hasMore(has_more);
  }

  async more() {
    if (this.older.hidden || this.isLoading) return;
    this.isLoading = true;
    try {
      const { entries, has_more } = await this.fetch(this.list.lastChild?.number ?? 0);
      this.list.append(...entries.map((message) => this.item(message)));
      this.hasMore(has_more && this.list.children.length < 5 * MOST);
    } finally {
      this.isLoading = false;
    }
  }

  async fetch(before) {
    try {
      return await this.connection.ask("entries", { before, words: this.search.value, kinds: this.kinds() }).reply;
    } catch {
      return { entries: [], has_more: false };
    }
  }

  // One stop for the tabulator; arrows go from entry to entry, Enter opens what it rests on.
  step(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by) return;
    const summaries = [...this.list.querySelectorAll("summary")];
    summaries[Math.max(0, summaries.indexOf(document.activeElement) + by)]?.focus();
    event.preventDefault();
  }
}

const keyOf = (message) => `${message.type} ${message.node} ${message[message.type].camera}`;
