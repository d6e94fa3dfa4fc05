// node-redis as an application uses it: plain calls, transactions, scripts, iteration, pools and its own cache.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient, createClientPool, defineScript, WatchError } from 'redis';
import { url } from './server.js';

for (const RESP of [2, 3]) {
    const connected = async (part, more = {}) => {
        const client = await createClient({ url, RESP, ...more }).connect();
        try {
            await part(client);
        } finally {
            client.destroy();
        }
    };

    test(`strings and keys, RESP${RESP}`, () => connected(async client => {
        assert.equal(await client.set('key', 'value', { expiration: { type: 'EX', value: 100 } }), 'OK');
        assert.equal(await client.set('key', 'other', { condition: 'NX' }), null);
        assert.equal(await client.get('key'), 'value');
        assert.equal(await client.get('none'), null);
        assert.ok(await client.ttl('key') > 0);
        assert.equal(await client.mSet({ a: '1', b: '2' }), 'OK');
        assert.deepEqual(await client.mGet(['a', 'none', 'b']), ['1', null, '2']);
        assert.equal(await client.incrBy('n', 5), 5);
        assert.equal(await client.getDel('a'), '1');
        assert.equal(await client.exists(['a', 'b', 'n']), 2);
        assert.equal(await client.getEx('b', { type: 'PX', value: 60_000 }), '2');
        assert.equal(await client.del(['b', 'n']), 2);
        await assert.rejects(client.incr('key'), /value is not an integer/);
    }));

    test(`transactions, RESP${RESP}`, () => connected(async client => {
        assert.deepEqual(await client.multi().set('a', '1').incr('a').get('a').exec(), ['OK', 2, '2']);
        await client.watch('a');
        await client.set('a', 'changed');
        await assert.rejects(client.multi().set('a', 'lost').exec(), WatchError);
    }));

    test(`scripts, RESP${RESP}`, () => connected(async client => {
        assert.deepEqual([await client.add('n', 2), await client.add('n', 3)], [2, 5]);
    }, {
        scripts: {
            add: defineScript({
                SCRIPT: "return redis.call('INCRBY', KEYS[1], ARGV[1])",
                NUMBER_OF_KEYS: 1,
                parseCommand: (parser, key, by) => { parser.pushKey(key); parser.push(`${by}`); },
                transformReply: reply => reply,
            }),
        },
    }));

    test(`iteration and names, RESP${RESP}`, () => connected(async client => {
        await Promise.all(Array.from({ length: 500 }, (_, n) => client.set(`item:${n}`, 'v')));
        const found = new Set();
        for await (const keys of client.scanIterator({ MATCH: 'item:*', COUNT: 50 })) {
            keys.forEach(key => found.add(key));
        }
        assert.equal(found.size, 500);
        assert.equal((await client.clientInfo()).db, 0);
    }));
}

test('databases are apart', async () => {
    const [first, second] = await Promise.all([0, 3].map(database => createClient({ url, database }).connect()));
    await first.set('key', 'of 0');
    assert.equal(await second.get('key'), null);
    first.destroy();
    second.destroy();
});

test('a pool', async () => {
    const pool = await createClientPool({ url }, { minimum: 2, maximum: 5 }).connect();
    const counts = await Promise.all(Array.from({ length: 100 }, () => pool.incr('n')));
    assert.deepEqual(counts.sort((a, b) => a - b), Array.from({ length: 100 }, (_, n) => n + 1));
    pool.destroy();
});

test('its own cache follows what others write', async () => {
    const clientSideCache = { ttl: 0, maxEntries: 0, evictPolicy: 'LRU' };
    const caching = await createClient({ url, RESP: 3, clientSideCache }).connect();
    const writing = await createClient({ url }).connect();
    await writing.set('key', 'old');
    assert.equal(await caching.get('key'), 'old');
    await writing.set('key', 'new');
    // The message about the key comes before the reply to whatever is asked next.
    await caching.ping();
    assert.equal(await caching.get('key'), 'new');
    caching.destroy();
    writing.destroy();
});
