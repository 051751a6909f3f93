// Which endpoint is served where: workers, webhooks and metrics on one listening socket, on separate ones, on unix
// sockets and on those of systemd; and which address counts when there is a proxy in between.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocket, readSecret, workerParams } from '../client/lib.mjs';
import * as stage from './stage.mjs';
import { Coordinator, db, given, test } from './stage.mjs';

const folder = mkdtempSync(join(tmpdir(), 'interlock-endpoints-'));
stage.atEnd(() => rmSync(folder, { recursive: true, force: true }));
const secret = readSecret(process.env.WORKER_SECRET_FILE);

// Where: "127.0.0.1:4000" or "unix:/path".
const at = (where) =>
	where.startsWith('unix:') ? { socketPath: where.slice(5) } : { host: '127.0.0.1', port: where.split(':').pop() };
const ask = (where, path, { method = 'GET', body, headers = {} } = {}) =>
	new Promise((resolve, reject) => {
		const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) };
		const asked = request({ ...at(where), path, method, headers: { ...length, ...headers } }, (answer) => {
			answer.resume();
			answer.on('end', () => resolve(answer.statusCode));
		});
		asked.on('error', reject);
		asked.end(body);
	});
// A worker's handshake: {status, ws}.
const shake = (where, { headers, localAddress } = {}) => {
	const query = new URLSearchParams({ ...workerParams(secret), vsn: '2.0.0' });
	const base = where.startsWith('unix:') ? `ws+unix://${where.slice(5)}:` : `ws://${where}`;
	const ws = new WebSocket(`${base}/worker/websocket?${query}`, { headers, localAddress });
	return new Promise((resolve) => {
		ws.on('open', () => resolve({ status: 101, ws }));
		ws.on('unexpected-response', (asked, answer) => {
			asked.destroy();
			resolve({ status: answer.statusCode });
		});
		ws.on('error', () => {});
	});
};
const handshake = async (...args) => {
	const { status, ws } = await shake(...args);
	ws?.terminate();
	return status;
};
const webhook = async (where, id) =>
	ask(where, `/i/${id.trigger}`, { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } });

// What is answered where: [handshake, webhook, /metrics, /healthz, /readyz].
const answers = async (where, id) => [
	await handshake(where),
	await webhook(where, id),
	await ask(where, '/metrics'),
	await ask(where, '/healthz'),
	await ask(where, '/readyz'),
];

const listening = (coordinator) => [...coordinator.logged.matchAll(/listening on ([^" ]+)/g)].map(([, where]) => where);

test('on one listening socket, everything', async () => {
	const a = await Coordinator.start('endpoints-one');
	assert.deepEqual(await answers(a.address, await given()), [101, 200, 200, 200, 200]);
	await a.stop();
});

test('on separate sockets, each only its own; a unix socket works as well', async () => {
	const id = await given();
	const path = join(folder, 'metrics.sock');
	const a = await Coordinator.start('endpoints-three', {
		server: { listen: `127.0.0.1:0 unix:${join(folder, 'workers.sock')}` },
		intake: { listen: '127.0.0.1:0' },
		metrics: { listen: `unix:${path}` },
	});
	const [workers, local, metrics, intake] = listening(a);
	assert.deepEqual(await answers(workers, id), [101, 404, 404, 200, 200]);
	assert.deepEqual(await answers(local, id), [101, 404, 404, 200, 200]);
	assert.deepEqual(await answers(metrics, id), [404, 404, 200, 200, 200]);
	assert.deepEqual(await answers(intake, id), [404, 200, 404, 200, 200]);
	assert.equal(statSync(path).mode & 0o777, 0o660);
	await a.stop();
	assert.throws(() => statSync(path), /ENOENT/);
});

test("by systemd's sockets, each for what its name says", async () => {
	const id = await given();
	const servers = [];
	for (let i = 0; i < 3; i++) {
		const server = createServer().listen(0, '127.0.0.1');
		await once(server, 'listening');
		servers.push(server);
	}
	const ports = servers.map((server) => server.address().port);
	const conf = new Coordinator('endpoints-systemd');
	conf.write();
	// LISTEN_PID must be the daemon's own: the shell becomes it.
	const child = spawn(
		'sh',
		['-c', `LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES=metrics:interlockd:intake exec "$0" -c "$1"`, process.env.INTERLOCKD_BIN, conf.file],
		{ stdio: ['ignore', 'ignore', 'pipe', ...servers.map((server) => server._handle)] },
	);
	stage.atEnd(() => child.kill('SIGKILL'));
	let log = '';
	const ready = new Promise((resolve) =>
		child.stderr.setEncoding('utf8').on('data', (text) => {
			log += text;
			if (log.includes('msg="ready"') || log.includes('msg=ready')) resolve();
		}),
	);
	const exit = once(child, 'exit');
	await Promise.race([ready, exit.then(() => assert.fail(log))]);
	for (const server of servers) server.close();
	const [metrics, workers, intake] = ports.map((port) => `127.0.0.1:${port}`);
	assert.deepEqual(await answers(workers, id), [101, 404, 404, 200, 200]);
	assert.deepEqual(await answers(metrics, id), [404, 404, 200, 200, 200]);
	assert.deepEqual(await answers(intake, id), [404, 200, 404, 200, 200]);
	assert.equal((log.match(/listening on/g) ?? []).length, 3, 'the option listen counts for nothing');
	child.kill('SIGTERM');
	assert.deepEqual(await exit, [0, null]);
});

// -- Whose address --------------------------------------------------------------------------------------

// The address by which the coordinator counts each of its workers.
const addresses = async (name, n) => {
	const [[workers]] = await db.until(
		`SELECT workers FROM coordinators WHERE name = '${name}' AND json_array_length(workers::json) = ${n}`,
		(rows) => rows.length === 1,
	);
	return JSON.parse(workers).map(({ address }) => address).sort();
};

test('X-Forwarded-For is believed from trusted proxies only, and only so far', async () => {
	const a = await Coordinator.start('endpoints-trust', {
		server: {
			listen: `127.0.0.1:0 unix:${join(folder, 'proxied.sock')}`,
			trusted_proxies: '127.0.0.1 10.0.0.0/8 unix',
		},
	});
	const [tcp, local] = listening(a);
	const said = (forwarded) => ({ headers: { 'X-Forwarded-For': forwarded } });
	const open = [
		await shake(tcp, said('203.0.113.1')),
		await shake(tcp, said('6.6.6.6, 203.0.113.2, 10.9.9.9')),
		await shake(tcp, { ...said('203.0.113.3'), localAddress: '127.0.0.7' }), // not trusted
		await shake(local, said('2001:DB8::4')),
		await shake(tcp, said('unknown')),
		await shake(tcp),
	];
	assert.deepEqual(open.map(({ status }) => status), open.map(() => 101));
	assert.deepEqual(await addresses('endpoints-trust', open.length), [
		'127.0.0.1', '127.0.0.1', '127.0.0.7', '2001:db8::4', '203.0.113.1', '203.0.113.2',
	]);
	for (const { ws } of open) ws.terminate();
	await a.stop();
});

test('limits per address are those of the workers behind the proxy, by reload too', async () => {
	const limits = { max_workers_per_address: 2 };
	const server = { trusted_proxies: '127.0.0.1' };
	const a = await Coordinator.start('endpoints-limit', { server, limits });
	const from = (client) => shake(a.address, { headers: { 'X-Forwarded-For': client } });
	const statuses = [];
	for (const client of ['203.0.113.1', '203.0.113.1', '203.0.113.1', '203.0.113.2'])
		statuses.push((await from(client)).status);
	assert.deepEqual(statuses, [101, 101, 503, 101]);
	assert.equal(await a.metric('interlock_handshakes_total{result="busy"}'), 1);
	await a.reload({ limits });
	assert.equal((await from('203.0.113.3')).status, 101, 'now all of them are the proxy');
	assert.equal((await from('203.0.113.4')).status, 101);
	assert.equal((await from('203.0.113.5')).status, 503);
	await a.stop();
});

await stage.play(100);
