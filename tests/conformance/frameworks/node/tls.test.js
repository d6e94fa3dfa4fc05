// node-redis and ioredis over TLS: who is let in, what is large, their own cache, and a certificate that is renewed.
import assert from 'node:assert/strict';
import { copyFileSync, readFileSync } from 'node:fs';
import { connect as connectTls } from 'node:tls';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { createClient, RESP_TYPES } from 'redis';
import { url as plainUrl } from './server.js';

const url = process.env.CACHE_TLS_URL;
const read = name => readFileSync(`${process.env.CERTIFICATES}/${name}`);
const identity = name => ({ cert: read(`${name}.pem`), key: read(`${name}.key`) });
const ca = read('ca.pem');
const options = (more = {}, socket = {}) => ({ url, socket: { tls: true, ca, reconnectStrategy: false, ...socket }, ...more });

const using = async (made, part) => {
    // What goes wrong is told by what was asked for.
    const client = createClient(made).on('error', () => {});
    try {
        await client.connect();
        return await part(client);
    } finally {
        client.destroy();
    }
};
const plainly = part => using({ url: plainUrl }, part);

for (const RESP of [2, 3]) {
    test(`who is let in, RESP${RESP}`, async () => {
        const ping = socket => using(options({ RESP }, socket), client => client.ping());
        for (const which of ['no', 'yes', 'optional']) {
            await plainly(client => client.configSet('tls-auth-clients', which));
            assert.equal(await ping(identity('client')), 'PONG');
            await (which === 'yes' ? assert.rejects(ping({})) : ping({}));
            await (which === 'no' ? ping(identity('stranger')) : assert.rejects(ping(identity('stranger'))));
            await assert.rejects(ping({ ca: read('stranger.pem') }), /certificate/);
        }
    });

    test(`large values and pipelines, RESP${RESP}`, () => using(options({ RESP }), async client => {
        const bytes = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
        const large = Buffer.alloc(20 << 20, 'many bytes of no use, ');
        assert.equal(await bytes.set('large', large), 'OK');
        assert.ok(large.equals(await bytes.get('large')));
        const numbers = Array.from({ length: 5000 }, (_, n) => `${n}`);
        await Promise.all(numbers.map(n => client.set(`key:${n}`, n)));
        assert.deepEqual(await Promise.all(numbers.map(n => client.get(`key:${n}`))), numbers);
        assert.deepEqual(await client.multi().set('a', '1').incr('a').exec(), ['OK', 2]);
    }));

    test(`a renewed certificate, RESP${RESP}`, () => plainly(async plain => {
        // Others may be thrown out and come back.
        const made = options({ RESP }, { reconnectStrategy: 10 });
        await using(made, async client => {
            await client.set('key', 'value');
            const [id, before] = [await client.clientId(), await shown()];
            const other = before.includes('CN=server') ? 'renewed' : 'server';
            if (other === 'renewed') {
                copy('server', 'kept');
            }
            copy(other === 'renewed' ? 'renewed' : 'kept', 'server');
            process.kill(Number((await plain.info('server')).match(/process_id:(\d+)/)[1]), 'SIGHUP');
            while (await shown() === before) {
                await sleep(10);
            }
            assert.equal(await client.clientId(), id);
            await plain.sendCommand(['CLIENT', 'KILL', 'ID', `${id}`]);
            assert.equal(await client.get('key'), 'value');
            assert.notEqual(await client.clientId(), id);
        });
    }));
}

const copy = (from, to) => ['pem', 'key'].forEach(ending => {
    copyFileSync(`${process.env.CERTIFICATES}/${from}.${ending}`, `${process.env.CERTIFICATES}/${to}.${ending}`);
});

// The name in the certificate that a new connection is shown.
const shown = () => new Promise((resolve, reject) => {
    const socket = connectTls({ host: '127.0.0.1', port: new URL(url).port, ca }, () => {
        resolve(`CN=${socket.getPeerCertificate().subject.CN}`);
        socket.destroy();
    }).on('error', reject);
});

test('its own cache follows what others write', () => {
    const clientSideCache = { ttl: 0, maxEntries: 0, evictPolicy: 'LRU' };
    return using(options({ RESP: 3, clientSideCache }), caching => using(options(), async writing => {
        await writing.set('key', 'old');
        assert.equal(await caching.get('key'), 'old');
        await writing.set('key', 'new');
        // The message about the key comes before the reply to whatever is asked next.
        await caching.ping();
        assert.equal(await caching.get('key'), 'new');
    }));
});

test('ioredis', async () => {
    const client = new Redis(url, { tls: { ca, ...identity('client') } });
    assert.equal(await client.set('key', 'value'), 'OK');
    assert.deepEqual(await client.pipeline().get('key').incr('n').exec(), [[null, 'value'], [null, 1]]);
    client.disconnect();
});
