// SPDX-License-Identifier: Apache-2.0
// What a text is based on: the frames as a strip, the phases as a bar, counts and flags in words.

import { el, kept, safe } from "./dom.js";
import { lasting, seconds, shown } from "./times.js";

const STOPPED = { 2: "cut at the token limit", 3: "cut: it repeated itself", 4: "cut by its deadline", 5: "cancelled", 6: "failed" };

export function strip(node, evidence) {
  const { frames, end } = evidence;
  if (!frames.length) return null;
  const made = el("ul", { class: "strip", tabindex: "0", "aria-label": `the ${frames.length} frames it saw` },
    ...frames.map((frame) => {
      const before = seconds(end) - seconds(frame.stamp);
      const stamp = `${seconds(frame.stamp).toFixed(2)} s`;
      return el("li", {}, kept(node, frame.camera, frame.stamp, `frame at ${shown(frame.stamp)}`),
        before > 0.005 ? `${stamp}, −${before.toFixed(1)} s` : `${stamp}, newest`, frame.type ? "" : el("div", {}, "key frame"));
    }));
  requestAnimationFrame(() => made.scrollTo(made.scrollWidth, 0)); // the newest frames first
  return made;
}

export function bar(evidence) {
  const parts = ["wait", "encode", "prefill", "decode"].map((name) => [name, evidence[name]]);
  const all = parts.reduce((sum, [, value]) => sum + value, 0) || 1;
  const said = parts.map(([name, value]) => `${name} ${lasting(value)}`);
  const made = el("div", { class: "bar", role: "img", "aria-label": said.join(", ") });
  for (const [name, value] of parts) {
    const span = el("span", { class: name });
    span.style.width = (100 * value / all).toFixed(2) + "%";
    made.append(span);
  }
  return el("div", {}, made, el("p", { class: "soft legend" }, ...parts.map(([name], i) => el("span", {}, el("i", { class: name }), " ", said[i]))));
}

export function facts(evidence) {
  const flags = [
    STOPPED[evidence.stop_reason],
    evidence.is_truncated && "frames or text were cut to fit",
    evidence.is_stale && "the newest frame was old",
    evidence.frames_dropped && `${evidence.frames_dropped} frames were dropped`,
    Number(evidence.unchanged_since) && `unchanged since ${shown(evidence.unchanged_since)}`,
    evidence.fallback_reason && `the robot's own model answered: ${safe(evidence.fallback_reason)}`,
  ].filter(Boolean);
  const drafts = evidence.drafted_tokens ? ` (${evidence.accepted_tokens} of ${evidence.drafted_tokens} guesses right)` : "";
  const where = evidence.endpoint ? `${evidence.endpoint}, ` : "";
  return el("dl", { class: "facts" }, ...Object.entries({
    frames: `${evidence.frames.length}${evidence.reused_frames ? `, ${evidence.reused_frames} known already` : ""}; the newest was ${lasting(evidence.age)} old at the first token`,
    "tokens read": `${evidence.prompt_tokens}, ${evidence.reused_tokens} known already, ${evidence.visual_tokens} of pictures`,
    "tokens written": `${evidence.generated_tokens}${drafts}, the first after ${lasting(evidence.first_token_latency)}`,
    model: safe(`${where}${evidence.model_name} ${evidence.model_digest.slice(0, 12)} on ${evidence.backend}, ${evidence.precision}`),
    flags: flags.join("; ") || null,
  }).filter(([, text]) => text).flatMap(([name, text]) => [el("dt", {}, name), el("dd", { class: name === "flags" ? "warn" : "" }, text)]));
}

export function evidenceOf(node, evidence) {
  const made = el("details", {}, el("summary", {}, "What it rests on"));
  made.addEventListener("toggle", () => {
    if (made.open && made.children.length === 1) made.append(...opened(node, evidence));
  });
  return made;
}

export const opened = (node, evidence) => [strip(node, evidence), bar(evidence), facts(evidence)].filter(Boolean);
