// Express: sessions by connect-redis, limits by rate-limit-redis and rate-limiter-flexible, over real HTTP.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RedisStore as SessionStore } from 'connect-redis';
import express from 'express';
import { rateLimit } from 'express-rate-limit';
import session from 'express-session';
import { Redis } from 'ioredis';
import { RedisStore as LimitStore } from 'rate-limit-redis';
import { BurstyRateLimiter, RateLimiterRedis } from 'rate-limiter-flexible';
import { createClient } from 'redis';
import { url } from './server.js';

/** Serves `app` on a free port while `part` asks it. */
async function serving(app, part) {
    const server = app.listen(0, '127.0.0.1');
    await new Promise(resolve => server.once('listening', resolve));
    try {
        await part(`http://127.0.0.1:${server.address().port}/`);
    } finally {
        server.close();
        server.closeAllConnections();
    }
}

test('sessions by connect-redis', async () => {
    const client = await createClient({ url }).connect();
    const store = new SessionStore({ client, prefix: 'app:', ttl: 100 });
    const app = express();
    app.use(session({ store, secret: 'x', resave: false, saveUninitialized: false }));
    app.get('/', (request, response) => {
        request.session.visits = (request.session.visits ?? 0) + 1;
        response.json(request.session.visits);
    });
    await serving(app, async address => {
        const first = await fetch(address);
        const cookie = first.headers.get('set-cookie').split(';')[0];
        assert.equal(await first.json(), 1);
        assert.equal(await (await fetch(address, { headers: { cookie } })).json(), 2);
    });
    assert.equal(await store.length(), 1);
    const [id] = await store.ids();
    assert.equal((await store.get(id)).visits, 2);
    await store.touch(id, { cookie: {} });
    assert.ok(await client.ttl(`app:${id}`) > 90);
    assert.equal((await store.all()).length, 1);
    await store.destroy(id);
    await store.clear();
    assert.equal(await client.dbSize(), 0);
    client.destroy();
});

test('limits by rate-limit-redis', async () => {
    const client = await createClient({ url }).connect();
    const store = new LimitStore({ sendCommand: (...words) => client.sendCommand(words) });
    const app = express();
    app.use(rateLimit({ windowMs: 60_000, limit: 3, store, standardHeaders: 'draft-8' }));
    app.get('/', (_, response) => response.send('here'));
    await serving(app, async address => {
        const states = [];
        for (let n = 0; n < 5; n++) states.push((await fetch(address)).status);
        assert.deepEqual(states, [200, 200, 200, 429, 429]);
    });
    client.destroy();
});

for (const [name, connect] of [
    ['ioredis', async () => new Redis(url)],
    ['node-redis', () => createClient({ url }).connect()],
]) {
    test(`limits by rate-limiter-flexible over ${name}`, async () => {
        const storeClient = await connect();
        const useRedisPackage = name === 'node-redis';
        const store = { storeClient, useRedisPackage, duration: 60 };
        const limiter = new RateLimiterRedis({ ...store, points: 3, blockDuration: 30 });
        for (let left = 2; left >= 0; left--) assert.equal((await limiter.consume('somebody')).remainingPoints, left);
        await assert.rejects(limiter.consume('somebody'), { remainingPoints: 0, consumedPoints: 4 });
        assert.equal((await limiter.get('somebody')).consumedPoints, 4);
        await limiter.penalty('another', 2);
        await limiter.reward('another', 1);
        assert.equal((await limiter.get('another')).consumedPoints, 1);
        assert.ok(await limiter.delete('somebody'));
        assert.equal(await limiter.get('somebody'), null);
        await limiter.block('third', 60);
        await assert.rejects(limiter.consume('third'));

        const slow = new RateLimiterRedis({ ...store, points: 1, keyPrefix: 'slow' });
        const burst = new RateLimiterRedis({ ...store, points: 2, keyPrefix: 'burst' });
        const both = new BurstyRateLimiter(slow, burst);
        for (let n = 0; n < 3; n++) await both.consume('somebody');
        await assert.rejects(both.consume('somebody'));
        useRedisPackage ? storeClient.destroy() : storeClient.disconnect();
    });
}
