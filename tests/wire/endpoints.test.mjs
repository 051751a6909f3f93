// Which endpoint is served where: workers, webhooks and metrics on one listening socket, on separate ones, on unix
// sockets and on those of systemd; and which address counts when there is a proxy in between.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocket, readSecret, workerParams } from '../client/lib.mjs';
import * as stage from './stage.mjs';
import { Coordinator, db, given, test } from './stage.mjs';
import { randomUUID } from 'node:crypto';

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

// -- Who has no token ----------------------------------------------------------------------------------

// A connection: send(text), what came so far (text), until(pattern), closed.
class Raw {
	text = '';
	constructor(where) {
		this.socket = connect(at(where)).on('error', () => {});
		this.socket.setEncoding('latin1').on('data', (data) => (this.text += data));
		this.closed = new Promise((resolve) => this.socket.on('close', () => resolve(this.text)));
	}
	send(text) {
		this.socket.write(text, 'latin1');
		return this;
	}
	async until(pattern) {
		while (!pattern.test(this.text)) await Promise.race([once(this.socket, 'data'), this.closed.then(() => assert.fail(this.text))]);
		return this.text;
	}
}
const raw = (where, text) => new Raw(where).send(text).closed;
const head = (method, path, ...fields) =>
	[`${method} ${path} HTTP/1.1`, 'Host: a', ...fields, '', ''].join('\r\n');
const IN_FLIGHT = 'interlock_buffered_bytes';

test('one normal form of a path, one answer to everything, and no line in the log', async () => {
	const a = await Coordinator.start('doors-heads', { log: { level: 'info', burst: 0 } });
	const from = a.logged.length;
	const asked = {
		200: [head('GET', '/metrics'), 'GET /healthz HTTP/1.0\r\n\r\n'],
		400: [
			...['/worker/../metrics', '/i/%2e%2e/metrics', '//metrics', '/metrics%00', '/./metrics', 'http://a/metrics', '*']
				.map((path) => head('GET', path)),
			'nonsense\r\n\r\n',
			head('GET', '/worker/websocket?vsn=2.0.0', 'Upgrade: h2c', 'Connection: Upgrade'),
		],
		404: [head('GET', '/metrics/'), head('BREW', '/pot'), head('POST', '/nowhere', 'Content-Length: 999999999')],
		405: [head('BREW', '/metrics'), head('PUT', `/i/${randomUUID()}`, 'Content-Length: 999999999')],
		413: [head('POST', `/i/${randomUUID()}`, 'Content-Length: 999999999')],
		417: [head('GET', '/metrics', 'Expect: 200-x')],
		431: [head('GET', `/${'a'.repeat(20_000)}`)],
		505: ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
	};
	for (const [status, texts] of Object.entries(asked))
		for (const text of texts) {
			const answer = await raw(a.address, text);
			assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `), text.slice(0, 100));
			assert.equal(answer.match(/HTTP\/1\.1 \d/g).length, 1);
			assert.doesNotMatch(answer, /<html/i);
		}
	await new Raw(a.address).send('\x16\x03\x01\x02\x00').socket.end();
	// Its connections to the database may still be coming up.
	const lines = a.logged.slice(from).split('\n').filter((line) => line && !line.includes(': connected to '));
	assert.deepEqual(lines, []);
	await a.stop();
});

test('more connections than descriptors, and none of them says anything: a worker gets in', async () => {
	const a = await Coordinator.start('doors-idle', {}, null, ['prlimit', '--nofile=512']);
	const idle = Array.from({ length: 700 }, () => new Raw(a.address));
	await Promise.all(idle.map(({ socket }) => once(socket, 'connect')));
	const begun = Date.now();
	const worker = await a.worker();
	assert.equal((await worker.join('worker:queue', { capacity: 1 })).status, 'ok');
	console.log(`let in after ${Date.now() - begun} ms`);
	assert.ok((await a.metric('interlock_http_connections_dropped_total{reason="crowded"}')) > 0);
	assert.ok((await a.metric('interlock_http_connections')) <= 64);
	for (const { socket } of idle) socket.destroy();
	await worker.cut();
	await a.stop();
});

test('bodies without a token stay within a quarter of the memory', async () => {
	const MB = 1_000_000;
	const a = await Coordinator.start('doors-bodies', { limits: { memory: '16MiB' } });
	const id = await given();
	const all = Array.from({ length: 100 }, () => {
		const length = `Content-Length: ${MB}`;
		return new Raw(a.address).send(head('POST', `/i/${randomUUID()}`, length) + ' '.repeat(MB / 2));
	});
	// Each counts twice, as it comes and as it is handed on: there is room for two.
	const answers = [];
	await new Promise((resolve) => {
		for (const { closed } of all) void closed.then((text) => answers.push(text) === 98 && resolve());
	});
	for (const answer of answers) assert.match(answer, /^HTTP\/1.1 503 .*Retry-After: 5\r\n.*nothing was stored/s);
	const held = await a.metric(IN_FLIGHT);
	assert.ok(held >= 4 * MB && held < 4.5 * MB, `${held} bytes in flight`);
	assert.equal(await webhook(a.address, id), 200, 'a small one finds room');
	for (const { socket } of all) socket.destroy();
	assert.equal(await a.untilMetric('interlock_http_connections', (n) => n === 1), 1);
	// And while they wait for the database.
	await db.query('BEGIN');
	await db.query('LOCK TABLE dataclips IN SHARE MODE');
	const body = JSON.stringify('x'.repeat(MB));
	const post = () => ask(a.address, `/i/${id.trigger}`, { method: 'POST', body, headers: { 'content-type': 'application/json' } });
	const two = [post(), post()];
	await a.untilMetric(IN_FLIGHT, (n) => n > 4 * MB);
	assert.equal(await post(), 503);
	await db.query('COMMIT');
	assert.deepEqual(await Promise.all(two), [200, 200]);
	const rest = await a.untilMetric(IN_FLIGHT, (n) => n < 10_000);
	assert.ok(rest < 10_000, `${rest} bytes in flight`);
	await a.stop();
});

await stage.play();
