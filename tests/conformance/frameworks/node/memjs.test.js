// memjs, which speaks memcached's binary protocol alone: each of its commands is told that this is not spoken here. It would
// wait for ever behind a connection that is closed, and half a second at a time for one that says nothing.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import memjs from 'memjs';

const [host, port] = process.env.MEMCACHED_ADDRESS.split(':');
const isThere = await new Promise(resolve => {
    const socket = connect(port, host, () => { socket.destroy(); resolve(true); }).on('error', () => resolve(false));
});
const skip = !isThere && "this server does not speak memcached's protocol";
const quiet = { timeout: 30, retries: 0, logger: { log() {} } };

for (const [who, options] of [['without a password', quiet], ['with one', { ...quiet, username: 'default', password: 'x' }]]) {
    test(`every command is refused, ${who}`, { skip }, async () => {
        const client = memjs.Client.create(`${host}:${port}`, options);
        const commands = {
            get: ['key'], set: ['key', 'value', {}], add: ['key', 'value', {}], replace: ['key', 'value', {}], delete: ['key'],
            increment: ['key', 1, {}], decrement: ['key', 1, {}], append: ['key', 'value'], prepend: ['key', 'value'],
            touch: ['key', 100], set_large: ['key', 'x'.repeat(1 << 20), {}],
        };
        const ask = ([name, words]) => client[name.split('_')[0]](...words);
        for (const command of Object.entries(commands)) {
            await assert.rejects(ask(command), /Not supported/, command[0]);
        }
        const together = await Promise.allSettled(Object.entries(commands).map(ask));
        assert.deepEqual(new Set(together.map(told => told.reason.message.split(': ').at(-1))), new Set(['Not supported']));
        client.close();
    });
}
