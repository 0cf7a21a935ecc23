// SPDX-License-Identifier: Apache-2.0
// One WebSocket: commands with a number each, whose replies come back as promises; it connects again.

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10000;

export class Connection {
  constructor(onMessage, onPicture, onState) {
    this.onMessage = onMessage;
    this.onPicture = onPicture;
    this.onState = onState;
    this.number = 0;
    this.pending = new Map();
    this.wait = FIRST_WAIT_MS;
    this.open();
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(`${scheme}//${location.host}/socket`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.wait = FIRST_WAIT_MS;
      this.onState("connected");
    };
    this.socket.onmessage = (event) => this.take(event.data);
    this.socket.onclose = (event) => {
      for (const { reject } of this.pending.values()) reject(new Error("the connection was lost"));
      this.pending.clear();
      this.onState("lost" + (event.reason ? ": " + event.reason : "") + ", connecting again");
      this.explain();
      setTimeout(() => this.open(), this.wait);
      this.wait = Math.min(LONGEST_WAIT_MS, this.wait * 2);
    };
  }

  // A console that was started again knows no old cookie, and a browser is not told why a socket was refused.
  async explain() {
    const answer = await fetch("/").catch(() => null);
    if (answer?.status === 401) this.onState("the console was started again: open the address that it has printed");
  }

  take(data) {
    if (typeof data !== "string") {
      const [number, length] = [0, 4].map((offset) => new DataView(data).getUint32(offset));
      const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 8, length)));
      this.onPicture(head, new Blob([new Uint8Array(data, 8 + length)], { type: "image/jpeg" }), number);
      return;
    }
    const message = JSON.parse(data);
    const waiting = this.pending.get(message.id);
    if (message.type === "piece") waiting?.onPiece(message);
    else if (message.type === "done") this.settle(message.id, () => waiting?.resolve(message));
    else if (message.type === "refused" && waiting) this.settle(message.id, () => waiting.reject(new Error(message.why)));
    else this.onMessage(message);
  }

  settle(id, how) {
    how();
    this.pending.delete(id);
  }

  // Sends without waiting for a reply; returns the number of the command.
  send(name, fields) {
    const id = ++this.number;
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ id, do: name, ...fields }));
    return id;
  }

  // Returns the number, and a promise of the reply; `onPiece` gets what comes before it.
  ask(name, fields, onPiece = () => {}) {
    const id = this.send(name, fields);
    const reply = new Promise((resolve, reject) => {
      if (this.socket.readyState === WebSocket.OPEN) this.pending.set(id, { resolve, reject, onPiece });
      else reject(new Error("the console is not connected"));
    });
    return { id, reply };
  }
}
