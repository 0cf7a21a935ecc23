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

const line = new TimeLine();
const health = new Health();
let nodes = [];
let dropped = 0;

const connection = new Connection(take, (head, blob) => cameras.show(head, blob), tell);
const cameras = new Cameras(connection);
const recall = new RecallPanel(connection);
const rules = new Rules(connection, cameras);
new Ask(connection, cameras);
new Parameters(connection, cameras);

const SHOW = {
  hello(message) {
    document.body.classList.toggle("read-only", message.read_only);
    line.clear();
    cameras.again();
  },
  nodes(message) {
    const isLess = nodes.some((node) => !message.nodes.includes(node));
    nodes = message.nodes;
    recall.available(message.has_memory);
    if (isLess) health.forget(nodes);
    cameras.forget(nodes);
    tell("connected");
  },
  status(message) {
    cameras.status(message);
    byId("clock").textContent = "robot time " + shown(message.status.header.stamp);
  },
  caption(message) {
    cameras.caption(message);
    line.add(message);
  },
  answer: (message) => line.add(message),
  event: (message) => line.add(message),
  rule_states: (message) => rules.states(message),
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
  byId("connection").textContent = state === "connected" ? `connected: ${seen}${lost}` : state;
}
