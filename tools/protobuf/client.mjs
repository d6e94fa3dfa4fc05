// A client for kv-cache's Protobuf port, and a check of one that runs: node client.mjs HOST PORT.
// The schema is read as it is; it takes the package protobufjs (npm install protobufjs).

import assert from "node:assert/strict";
import net from "node:net";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";

const schema = await protobuf.load(fileURLToPath(new URL("../../proto/kv_cache.proto", import.meta.url)));
const Request = schema.lookupType("kv_cache.v1.Request");
const Response = schema.lookupType("kv_cache.v1.Response");
const { IF_ABSENT } = schema.lookupEnum("kv_cache.v1.Condition").values;

/** One connection: requests are sent as they are asked, and answered in order. */
export class Cache {
  constructor(host, port) {
    this.waiting = [];
    this.received = Buffer.alloc(0);
    this.nextId = 0;
    this.socket = net.connect(port, host).setNoDelay();
    this.socket.on("data", (bytes) => this.take(bytes));
    this.socket.on("close", () => this.waiting.splice(0).forEach(({ reject }) => reject(new Error("closed"))));
    this.socket.on("error", () => {});
  }

  take(bytes) {
    this.received = Buffer.concat([this.received, bytes]);
    const reader = protobuf.Reader.create(this.received);
    let used = 0;
    try {
      for (; reader.pos < reader.len; used = reader.pos) {
        const response = Response.decodeDelimited(reader);
        const { id, resolve, reject } = this.waiting.shift();
        assert.equal(Number(response.id), id);
        if (response.result === "error") reject(new Error(response.error));
        else resolve(response);
      }
    } catch (error) {
      // A message that is not whole.
      if (!(error instanceof RangeError)) throw error;
    }
    this.received = this.received.subarray(used);
  }

  ask(command) {
    const id = ++this.nextId;
    this.socket.write(Request.encodeDelimited(Request.create({ id, ...command })).finish());
    return new Promise((resolve, reject) => this.waiting.push({ id, resolve, reject }));
  }

  /** The value, or null. */
  async get(key) {
    const { value } = await this.ask({ get: { key: Buffer.from(key) } });
    return Object.hasOwn(value, "data") ? Buffer.from(value.data) : null;
  }

  /** False when the condition did not hold. */
  async set(key, value, { ttlMs = 0, condition = 0 } = {}) {
    const set = { key: Buffer.from(key), value: Buffer.from(value), ttlMs, condition };
    return (await this.ask({ set })).done;
  }
}

const [host, port] = process.argv.slice(2);
const cache = new Cache(host, Number(port));
const value = Buffer.from(Array.from({ length: 200_000 }, (_, at) => at % 251));
assert.equal(await cache.set("tools:node", value, { ttlMs: 60_000 }), true);
assert.deepEqual(await cache.get("tools:node"), value);
assert.equal(await cache.set("tools:node", "", { condition: IF_ABSENT }), false);
assert.equal(await cache.get("tools:none"), null);
await cache.ask({ delete: { key: Buffer.from("tools:count") } });
// A pipeline: all of them are under way at once.
const counts = Array.from({ length: 1000 }, () => cache.ask({ increment: { key: Buffer.from("tools:count") } }));
assert.equal(Number((await Promise.all(counts)).at(-1).number), 1000);
const { values } = await cache.ask({ multiGet: { keys: ["tools:count", "tools:none"].map((key) => Buffer.from(key)) } });
assert.deepEqual(values.values.map((value) => Object.hasOwn(value, "data")), [true, false]);
await assert.rejects(cache.ask({ increment: { key: Buffer.from("tools:node") } }), /not an integer/);
cache.socket.end();
