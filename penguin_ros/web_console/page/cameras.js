// SPDX-License-Identifier: Apache-2.0
// One live picture per camera with its newest caption; pictures follow the size on the page and its sight.

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
    this.seen = new IntersectionObserver((entries) => entries.forEach((entry) => this.look(entry.target.key, entry.isIntersecting)));
    document.addEventListener("visibilitychange", () => this.lookAll());
  }

  status({ node, status }) {
    for (const camera of status.cameras) {
      const view = this.view(node, camera.name);
      const state = STATES[camera.state];
      view.state.textContent = `${camera.name}: ${state}${camera.cause ? ", " + safe(camera.cause) : ""}, ${camera.rate_hz.toFixed(1)} Hz`;
      view.state.className = camera.state === 1 ? "ok" : "warn";
      // A camera that the server did not know yet, or whose node was started again, is asked for again.
      if (view.isVisible && performance.now() - view.shownAt > PATIENCE_MS) {
        view.isLooking = false;
        this.look(node + "/" + camera.name, true);
      }
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
      this.shown.set(key, { node, camera, picture, caption, state, stamp, figure, isLooking: false, isVisible: false, shownAt: 0 });
      this.parent.append(figure);
      this.select.append(el("option", { value: key }, this.name(node, camera)));
      this.seen.observe(figure);
    }
    return this.shown.get(key);
  }

  name(node, camera) {
    return safe(camera) + " (" + safe(node) + ")";
  }

  look(key, isVisible) {
    const view = this.shown.get(key);
    if (!view) return;
    view.isVisible = isVisible;
    const wanted = isVisible && !document.hidden;
    if (wanted === view.isLooking) return;
    view.isLooking = wanted;
    view.shownAt = performance.now();
    const { node, camera } = view;
    if (wanted) {
      const width = Math.round(view.picture.clientWidth * devicePixelRatio) || 640;
      this.connection.send("look", { node, camera, rate: RATE, width: Math.min(1920, Math.max(160, width)) });
    } else this.connection.send("look_away", { node, camera });
  }

  lookAll() {
    for (const [key, view] of this.shown) this.look(key, view.isVisible);
  }

  // After a new connection the server knows of no look.
  again() {
    for (const view of this.shown.values()) view.isLooking = false;
    this.lookAll();
  }

  show(head, blob) {
    const view = this.shown.get(head.node + "/" + head.camera);
    if (!view) return;
    const url = URL.createObjectURL(blob);
    view.picture.onload = view.picture.onerror = () => URL.revokeObjectURL(url);
    view.picture.src = url;
    view.stamp.textContent = shown(head.stamp);
    view.picture.dataset.stamp = head.stamp;
    view.shownAt = performance.now();
  }

  caption({ node, caption }) {
    const view = this.shown.get(node + "/" + caption.camera);
    if (!view) return;
    view.caption.hidden = false;
    view.caption.textContent = safe(caption.error_code ? caption.error_message : caption.text);
  }

  forget(nodes) {
    for (const [key, view] of this.shown) {
      if (nodes.includes(view.node)) continue;
      view.state.textContent = `${view.camera}: its node ${view.node} is gone`;
      view.state.className = "error";
      view.isLooking = false;
    }
  }

  // The node and the camera that a question is about.
  chosen() {
    const view = this.shown.get(this.select.value);
    return view ? { node: view.node, camera: view.camera } : {};
  }
}
