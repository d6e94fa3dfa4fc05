// A k6 script for servers that speak RESP: reads and writes of random keys with k6's own Redis client, with
// thresholds that fail a run.
// Knows nothing of the server's code.
//
//     k6 run -e KV_URL=redis://127.0.0.1:7171 -u 50 -d 30s kv.js
//
// KV_READS (share of reads, 0.9), KV_KEYS (100000) and KV_VALUE_SIZE (64 bytes) change the load; KV_RATE (requests per
// second) makes it an open loop, in which k6 counts what it could not start as dropped_iterations; KV_DURATION (10s)
// and KV_USERS (50) belong to that.

import redis from "k6/experimental/redis";
import { Rate, Trend } from "k6/metrics";
import exec from "k6/execution";

const reads = Number(__ENV.KV_READS || 0.9);
const keys = Number(__ENV.KV_KEYS || 100000);
const value = "v".repeat(Number(__ENV.KV_VALUE_SIZE || 64));
const rate = Number(__ENV.KV_RATE || 0);

const readTime = new Trend("kv_read", true);
const writeTime = new Trend("kv_write", true);
const errors = new Rate("kv_errors");

const thresholds = { kv_errors: ["rate==0"] };

export const options = rate
  ? {
      thresholds,
      scenarios: {
        open: {
          executor: "constant-arrival-rate",
          rate,
          timeUnit: "1s",
          duration: __ENV.KV_DURATION || "10s",
          preAllocatedVUs: Number(__ENV.KV_USERS || 50),
        },
      },
    }
  : { thresholds };

const url = __ENV.KV_URL || "redis://127.0.0.1:7171";
const client = new redis.Client(url);

// Milliseconds with their fractions: Date.now() has whole ones, and a cache answers within a tenth.
const now = () => exec.instance.currentTestRunDuration;

// Fills the keys, so that reads find something and a server that is not there or refuses writes is seen before the load.
export async function setup() {
  const batch = 1000;
  try {
    for (let first = 0; first < keys; first += batch) {
      const pairs = [];
      for (let key = first; key < Math.min(first + batch, keys); key++) pairs.push(`k${key}`, value);
      await client.sendCommand("MSET", ...pairs);
    }
  } catch (why) {
    errors.add(true);
    exec.test.abort(`no server takes writes at ${url}: ${why}`);
  }
}

export default async function () {
  const key = `k${Math.floor(Math.random() * keys)}`;
  const reading = Math.random() < reads;
  const start = now();
  try {
    // A key that is missing is an error to k6's client; to a cache it is a miss.
    if (reading) await client.get(key).catch(missing);
    else await client.set(key, value, 0);
    errors.add(false);
  } catch (why) {
    errors.add(true);
    exec.test.abort(`the server failed: ${why}`);
  }
  (reading ? readTime : writeTime).add(now() - start);
}

function missing(why) {
  if (!String(why).includes("nil")) throw why;
}
