// SPDX-License-Identifier: Apache-2.0
// Starts the page: one connection, and what each kind of message is shown by.

import { Ask } from "./ask.js";
import { Cameras } from "./cameras.js";
import { byId } from "./dom.js";
import { TimeLine } from "./entries.js";
import { Health } from "./health.js";
import { Parameters } from "./parameters.js";
import { RecallPanel } from "./recall.js";
import { Rules } from "./rules.js";
import { Connection } from "./socket.js";
import { shown } from "./times.js";

const health = new Health();
let nodes = [];
let dropped = 0;

const connection = new Connection(take, (...picture) => cameras.show(...picture), tell);
const line = new TimeLine(connection);
const cameras = new Cameras(connection);
const recall = new RecallPanel(connection, cameras);
const rules = new Rules(connection, cameras);
new Ask(connection, cameras);
new Parameters(connection, cameras);

const SHOW = {
  hello(message) {
    document.body.classList.toggle("read-only", message.read_only);
    for (const button of document.querySelectorAll("[data-changes]")) button.disabled = message.read_only;
    line.clear();
    rules.again();
    cameras.again();
  },
  nodes(message) {
    const isLess = nodes.some((node) => !message.nodes.includes(node));
    nodes = message.nodes;
    recall.available(message.has_memory);
    if (isLess) health.forget(nodes);
    if (isLess) rules.forget(nodes);
    cameras.forget(nodes);
    byId("no-node").hidden = nodes.length > 0;
    tell("connected");
  },
  status(message) {
    cameras.status(message);
    byId("clock").textContent = "robot's time " + shown(message.status.header.stamp, Date.now());
  },
  caption(message) {
    cameras.caption(message);
    line.add(message);
  },
  answer: (message) => line.add(message),
  event: (message) => line.add(message),
  line: (message) => line.hasMore(message.has_more),
  rule_states: (message) => rules.show(message),
  model_info: (message) => health.model(message),
  diagnostics: (message) => health.diagnostics(message),
  dropped(message) {
    dropped = message.pictures;
    tell("connected");
  },
};

function take(message) {
  SHOW[message.type]?.(message);
}

function tell(state) {
  const seen = nodes.length ? nodes.join(", ") : "no penguin node yet";
  const lost = dropped ? `; ${dropped} pictures left out, this browser reads slowly` : "";
  const text = state === "connected" ? `connected: ${seen}${lost}` : state;
  if (byId("connection").textContent !== text) byId("connection").textContent = text; // else it is read out each second
}
