// SPDX-License-Identifier: Apache-2.0
// One live picture per camera with its newest caption. Pictures follow the size on the page and its sight: while a
// camera is out of sight its frames are only kept, so that answers have theirs; in a hidden page not even that.

import { byId, el, replace, safe } from "./dom.js";
import { shown } from "./times.js";

const STATES = ["waiting", "OK", "stale", "rejected"];
const RATE = 10;
const PATIENCE_MS = 3000;

export class Cameras {
  constructor(connection) {
    this.connection = connection;
    this.parent = byId("cameras");
    this.select = byId("camera");
    this.shown = new Map();
    this.seen = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => {
      this.shown.get(target.key).isVisible = isIntersecting;
      this.look(target.key);
    }));
    document.addEventListener("visibilitychange", () => this.lookAll());
  }

  status({ node, status }) {
    for (const camera of status.cameras) {
      const view = this.view(node, camera.name);
      const state = STATES[camera.state];
      view.state.textContent = `${safe(camera.name)}: ${state}${camera.cause ? ", " + safe(camera.cause) : ""}, ${camera.rate_hz.toFixed(1)} Hz taken`;
      view.state.className = camera.state === 1 ? "ok" : "warn";
      // A camera that the server did not know yet, or whose node was started again, is asked for again.
      if (view.looks === "show" && performance.now() - view.shownAt > PATIENCE_MS) view.looks = "";
      if (!view.looks) this.look(node + "/" + camera.name);
    }
  }

  view(node, camera) {
    const key = node + "/" + camera;
    if (!this.shown.has(key)) {
      if (!this.shown.size) replace(this.parent);
      const picture = el("img", { alt: `live picture of ${safe(camera)}`, width: 640, height: 360 });
      const caption = el("p", { class: "over" });
      const state = el("span");
      const stamp = el("span", { class: "soft" });
      const figure = el("figure", {}, el("div", { class: "view" }, picture, caption), el("figcaption", {}, state, " ", stamp));
      figure.key = key;
      caption.hidden = true;
      this.shown.set(key, { node, camera, picture, caption, state, stamp, figure, looks: "", url: "", isVisible: false, shownAt: 0 });
      this.parent.append(figure);
      this.select.append(el("option", { value: key }, `${safe(camera)} (${safe(node)})`));
      this.seen.observe(figure);
    }
    return this.shown.get(key);
  }

  look(key) {
    const view = this.shown.get(key);
    const wanted = document.hidden ? "" : view.isVisible ? "show" : "keep";
    if (wanted === view.looks) return;
    view.looks = wanted;
    view.shownAt = performance.now();
    const { node, camera } = view;
    if (wanted) {
      const width = Math.round(view.picture.clientWidth * devicePixelRatio) || 640;
      this.connection.send("look", { node, camera, rate: wanted === "show" ? RATE : 0, width: Math.min(1920, Math.max(160, width)) });
    } else this.connection.send("look_away", { node, camera });
  }

  lookAll() {
    for (const key of this.shown.keys()) this.look(key);
  }

  // After a new connection the server knows of no look.
  again() {
    for (const view of this.shown.values()) view.looks = "";
    this.lookAll();
  }

  show(head, blob, number) {
    const { node, camera, stamp } = head;
    const view = this.shown.get(node + "/" + camera);
    if (!view) return;
    const url = URL.createObjectURL(blob);
    URL.revokeObjectURL(view.url); // the picture that this one replaces may never be drawn; it would be kept as long as the page
    view.url = url;
    // The server sends the next one when this is on the page; a number stands for all before it.
    view.picture.onload = view.picture.onerror = () => {
      URL.revokeObjectURL(url);
      this.connection.send("drawn", { node, camera, number });
    };
    view.picture.src = url;
    view.stamp.textContent = shown(stamp, Date.now());
    view.picture.dataset.stamp = stamp;
    view.shownAt = performance.now();
  }

  caption({ node, caption }) {
    const view = this.shown.get(node + "/" + caption.camera);
    if (!view) return;
    view.caption.hidden = false;
    view.caption.textContent = safe(caption.error_code ? caption.error_message : caption.text);
  }

  forget(nodes) {
    for (const view of this.shown.values()) {
      if (nodes.includes(view.node)) continue;
      view.state.textContent = `${safe(view.camera)}: its node ${safe(view.node)} is gone`;
      view.state.className = "error";
      view.looks = "";
    }
  }

  // The node and the camera that a question is about.
  chosen() {
    const { node = "", camera = "" } = this.shown.get(this.select.value) ?? {};
    return { node, camera };
  }
}
