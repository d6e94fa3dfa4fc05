// ioredis as an application uses it: its ready check, pipelines, transactions, scripts, streams of keys, redlock.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Redis } from 'ioredis';
import Redlock from 'redlock';
import { url } from './server.js';

const connected = async part => {
    const client = new Redis(url);
    try {
        await part(client);
    } finally {
        client.disconnect();
    }
};

test('strings and keys', () => connected(async client => {
    assert.equal(await client.set('key', 'value', 'EX', 100, 'NX'), 'OK');
    assert.equal(await client.set('key', 'other', 'NX'), null);
    assert.equal(await client.get('key'), 'value');
    assert.deepEqual(await client.mget('key', 'none'), ['value', null]);
    assert.deepEqual(await client.getBuffer('key'), Buffer.from('value'));
    assert.equal(await client.incrbyfloat('x', 1.5), '1.5');
    assert.equal(await client.unlink('key', 'none'), 1);
}));

test('pipelines and transactions', () => connected(async client => {
    const replies = await client.pipeline().set('a', 1).incr('a').get('a').exec();
    assert.deepEqual(replies, [[null, 'OK'], [null, 2], [null, '2']]);
    assert.deepEqual(await client.multi().incr('a').pttl('a').exec(), [[null, 3], [null, -1]]);
    const [[error]] = await client.pipeline().incr('text').set('text', 'x').exec();
    assert.equal(error, null);
    const [[failure]] = await client.multi().incr('text').exec();
    assert.equal(failure.message, 'ERR value is not an integer or out of range');
}));

test('commands made of scripts', () => connected(async client => {
    client.defineCommand('add', { numberOfKeys: 1, lua: "return {redis.call('INCRBY', KEYS[1], ARGV[1]), KEYS[1]}" });
    assert.deepEqual(await client.add('n', 5), [5, 'n']);
    await client.script('FLUSH');
    assert.deepEqual(await client.add('n', 5), [10, 'n']);
}));

test('keys as a stream', () => connected(async client => {
    await client.mset(Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`item:${n}`, n])));
    const found = new Set();
    for await (const keys of client.scanStream({ match: 'item:1*', count: 20 })) keys.forEach(key => found.add(key));
    assert.equal(found.size, 111);
}));

test('redlock', () => connected(async client => {
    const locks = new Redlock([client], { retryCount: 0 });
    const lock = await locks.acquire(['resource'], 10_000);
    await assert.rejects(locks.acquire(['resource'], 10_000));
    await (await lock.extend(10_000)).unlock();
    await (await locks.acquire(['resource', 'another'], 10_000)).unlock();
    assert.equal(await client.exists('resource', 'another'), 0);
}));
