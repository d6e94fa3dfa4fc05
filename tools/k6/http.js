// A k6 script for caches that speak HTTP: reads and writes of random keys at URL/kv/KEY, with thresholds that fail a run.
// Knows nothing of the server's code.
//
//     k6 run -e KV_URL=http://127.0.0.1:7172 -u 50 -d 30s http.js
//
// KV_READS (share of reads, 0.9), KV_KEYS (10000), KV_VALUE_SIZE (64 bytes) and KV_PASSWORD change the load. k6's own
// http_req_duration has the times.

import http from "k6/http";
import { check } from "k6";
import { Rate } from "k6/metrics";
import exec from "k6/execution";

const reads = Number(__ENV.KV_READS || 0.9);
const keys = Number(__ENV.KV_KEYS || 10000);
const value = "v".repeat(Number(__ENV.KV_VALUE_SIZE || 64));
const url = `${__ENV.KV_URL || "http://127.0.0.1:7172"}/kv`;
const headers = __ENV.KV_PASSWORD ? { Authorization: `Bearer ${__ENV.KV_PASSWORD}` } : {};

const errors = new Rate("kv_errors");

export const options = { thresholds: { kv_errors: ["rate==0"], http_req_duration: ["p(99)<1000"] } };

// A miss is an answer.
http.setResponseCallback(http.expectedStatuses(200, 201, 204, 404));

// Keys of this script and of this size alone: what others left under a key would not be the value that is looked for.
const name = (number) => `k6-${value.length}-${number}`;

const put = (key) => http.put(`${url}/${key}`, value, { headers, tags: { name: "PUT" } });

// A server that is not there or refuses writes is seen before the load.
export function setup() {
  const reply = put(name(0));
  if (reply.status !== 201 && reply.status !== 204) {
    exec.test.abort(`no server takes writes at ${url}: ${reply.error || reply.status}`);
  }
}

export default function () {
  const key = name(Math.floor(Math.random() * keys));
  if (Math.random() < reads) {
    const reply = http.get(`${url}/${key}`, { headers, tags: { name: "GET" } });
    errors.add(!check(reply, { "a value or a miss": (r) => r.status === 404 || (r.status === 200 && r.body === value) }));
  } else {
    errors.add(!check(put(key), { written: (r) => r.status === 201 || r.status === 204 }));
  }
}
