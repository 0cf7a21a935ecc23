// SPDX-License-Identifier: Apache-2.0
// Elements without HTML: every text is a text node, so that no caption can become markup.

export const byId = (id) => document.getElementById(id);

export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child != null && child !== ""));
  return made;
}

export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function replace(parent, ...children) {
  parent.replaceChildren(...children.filter((child) => child != null));
}

// The same, but what stands there already stays: a button under a finger, a text that is selected.
export function place(parent, children) {
  const same = parent.childNodes.length === children.length && children.every((child, i) => parent.childNodes[i] === child);
  if (!same) parent.replaceChildren(...children);
}

// Control characters (ANSI too) are shown as a sign of their own, and so is what turns the direction of text around.
export const safe = (text) => String(text ?? "").replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");

export const isReadOnly = () => document.body.classList.contains("read-only");

// What a text says is told where it is read out; `kind` is ok, warn or error.
export function tell(id, text, kind = "ok") {
  byId(id).textContent = safe(text);
  byId(id).className = kind;
}

export const pictureUrl = (node, camera, stamp) =>
  `/frame?node=${encodeURIComponent(node)}&camera=${encodeURIComponent(camera)}&stamp=${stamp}`;

// A picture that the console keeps, or words in its place.
export function kept(node, camera, stamp, alt) {
  const picture = el("img", { src: pictureUrl(node, camera, stamp), alt, loading: "lazy" });
  picture.addEventListener("error", () => picture.replaceWith(el("span", { class: "missing" }, "not kept")), { once: true });
  return picture;
}

export const words = (text) => text.split(",").map((word) => word.trim()).filter(Boolean);
