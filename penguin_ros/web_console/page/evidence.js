// SPDX-License-Identifier: Apache-2.0
// What a text is based on: the frames as a strip, the phases as a bar, counts and flags in words.

import { el, safe } from "./dom.js";
import { lasting, seconds, shown } from "./times.js";

const STOPPED = { 2: "cut at the token limit", 3: "cut: it repeated itself", 4: "cut by its deadline", 5: "cancelled", 6: "failed" };

export function strip(node, frames) {
  if (!frames.length) return null;
  const made = el("ul", { class: "strip", tabindex: "0", "aria-label": `the ${frames.length} frames it saw` },
    ...frames.map((frame) => {
      const url = `/frame?node=${encodeURIComponent(node)}&camera=${encodeURIComponent(frame.camera)}&stamp=${frame.stamp}`;
      const picture = el("img", { src: url, alt: `frame at ${shown(frame.stamp)}`, loading: "lazy" });
      picture.addEventListener("error", () => picture.replaceWith(el("span", {}, "not kept")), { once: true });
      return el("li", {}, picture, seconds(frame.stamp).toFixed(2) + (frame.type ? "" : " key"));
    }));
  requestAnimationFrame(() => made.scrollTo(made.scrollWidth, 0)); // the newest frames first
  return made;
}

export function bar(evidence) {
  const parts = [["wait", evidence.wait], ["encode", evidence.encode], ["prefill", evidence.prefill], ["decode", evidence.decode]];
  const all = parts.reduce((sum, [, value]) => sum + value, 0) || 1;
  const words = parts.map(([name, value]) => `${name} ${lasting(value)}`).join(", ");
  const made = el("div", { class: "bar", role: "img", "aria-label": words });
  for (const [name, value] of parts) {
    const span = el("span", { class: name });
    span.style.width = (100 * value / all).toFixed(2) + "%";
    made.append(span);
  }
  return el("div", {}, made, el("p", { class: "soft" }, words));
}

export function facts(evidence) {
  const flags = [
    STOPPED[evidence.stop_reason],
    evidence.is_truncated && "frames or text were cut to fit",
    evidence.is_stale && "the newest frame was old",
    evidence.frames_dropped && `${evidence.frames_dropped} frames were dropped`,
    Number(evidence.unchanged_since) && `unchanged since ${shown(evidence.unchanged_since)}`,
  ].filter(Boolean);
  return el("p", { class: "soft" },
    `${evidence.prompt_tokens} tokens read (${evidence.reused_tokens} known already), ${evidence.generated_tokens} written, ` +
    `first after ${lasting(evidence.first_token_latency)}; age ${lasting(evidence.age)}; ` +
    safe(`${evidence.model_name} ${evidence.model_digest.slice(0, 8)} on ${evidence.backend}, ${evidence.precision}`),
    flags.length ? el("strong", { class: "warn" }, " " + flags.join("; ")) : null);
}

export function evidenceOf(node, evidence) {
  const made = el("details", {}, el("summary", {}, "What it rests on"));
  made.addEventListener("toggle", () => {
    if (made.open && made.children.length === 1) made.append(...opened(node, evidence));
  });
  return made;
}

export const opened = (node, evidence) => [strip(node, evidence.frames), bar(evidence), facts(evidence)].filter(Boolean);
