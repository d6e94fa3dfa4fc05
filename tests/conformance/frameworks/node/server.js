// The server's address, and a clean server before each test.
import { beforeEach } from 'node:test';
import { createClient } from 'redis';

export const url = process.env.CACHE_URL;

beforeEach(async () => {
    const client = await createClient({ url }).connect();
    await client.flushAll();
    client.destroy();
});
