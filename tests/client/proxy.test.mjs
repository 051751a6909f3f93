// config/nginx.conf as it stands, but for its names and places, in front of two coordinators: one by TCP,
// one by a unix socket. Workers by wss with the official client, webhooks by https; large things; a
// coordinator that is restarted under the load.

import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../faults/cluster.mjs';
import * as stage from '../wire/stage.mjs';
import { Coordinator, test } from '../wire/stage.mjs';
import { Database, fixture } from './db.mjs';
import { Socket, WebSocket, join as joined, push, readSecret, timestamp, workerParams } from './lib.mjs';

const folder = mkdtempSync(join(tmpdir(), 'interlock-proxy-'));
stage.atEnd(() => rmSync(folder, { recursive: true, force: true }));
const file = (name) => join(folder, name);
const { WORKER_SECRET_FILE } = process.env;

// -- The coordinators, and the proxy --------------------------------------------------------------------

const urls = await stage.newDatabase('proxy');
const db = new Database(urls.migrate_url);
const limits = { max_workers_per_address: 6 };
const options = (listen) => ({ server: { listen, trusted_proxies: '127.0.0.1 unix' }, limits });
let a = await Coordinator.start('proxy-a', options('127.0.0.1:0'), urls);
let b = await Coordinator.start('proxy-b', options(`unix:${file('b.sock')}`), urls);

const port = await freePort();

execFileSync('openssl', [
	...'req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost'.split(' '),
	...['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', file('key.pem'), '-out', file('cert.pem')],
], { stdio: 'ignore' });
const ca = readFileSync(file('cert.pem'));

// Each of these is in the file, so that the test is of what is there.
const CHANGES = [
	['server 127.0.0.1:4000;', `server ${a.address}; server unix:${file('b.sock')};`],
	['listen 443 ssl;', `listen 127.0.0.1:${port} ssl;`],
	['listen [::]:443 ssl;', ''],
	['/etc/ssl/interlock.example.org.crt', file('cert.pem')],
	['/etc/ssl/private/interlock.example.org.key', file('key.pem')],
	['/var/log/nginx/interlock.log', file('access.log')],
	['/var/log/nginx/interlock.error.log', file('error.log')],
];
let site = readFileSync('config/nginx.conf', 'utf8');
for (const [from, to] of CHANGES) {
	assert.equal(site.split(from).length, 2, `config/nginx.conf has ${from}`);
	site = site.replace(from, to);
}
writeFileSync(file('site.conf'), site);
const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
	(what) => `${what}_temp_path ${file(what)};`,
);
writeFileSync(
	file('nginx.conf'),
	`user root; daemon off; pid ${file('pid')}; error_log stderr warn;
	events { worker_connections 2048; }
	http { ${temporary.join(' ')} include ${file('site.conf')}; }`,
);
const nginx = spawn('build/tools/usr/sbin/nginx', ['-p', folder, '-c', file('nginx.conf'), '-e', 'stderr'], {
	stdio: ['ignore', 'ignore', 'pipe'],
});
let complaints = '';
nginx.stderr.setEncoding('utf8').on('data', (text) => (complaints += text));
stage.atEnd(() => nginx.kill('SIGTERM'));

const fetched = (path, { method = 'GET', body, headers = {}, localAddress } = {}) =>
	new Promise((resolve, reject) => {
		const asked = request({ host: '127.0.0.1', port, ca, path, method, headers, localAddress }, (answer) => {
			let text = '';
			answer.setEncoding('utf8').on('data', (part) => (text += part));
			answer.on('end', () => resolve({ status: answer.statusCode, text }));
		});
		asked.on('error', reject);
		asked.end(body);
	});
const listening = async () => {
	for (const end = Date.now() + 60_000; ; await new Promise((r) => setTimeout(r, 50))) {
		const there = await fetched('/healthz').catch(() => null);
		if (there?.status === 200) return;
		assert.ok(Date.now() < end && nginx.exitCode === null, `nginx: ${complaints}`);
	}
};
await listening();

// -- A worker by the official client ----------------------------------------------------------------------

const secure = (localAddress, headers) =>
	class extends WebSocket {
		constructor(url) {
			super(url, { ca, localAddress, headers });
		}
	};
const secret = readSecret(WORKER_SECRET_FILE);
const connected = (localAddress) =>
	new Promise((resolve) => {
		const socket = new Socket(`wss://127.0.0.1:${port}/worker`, {
			params: workerParams(secret),
			transport: secure(localAddress),
			reconnectAfterMs: () => 200,
		});
		socket.onOpen(() => resolve(socket));
		socket.connect();
	});
const gone = (socket) => new Promise((resolve) => socket.disconnect(resolve));

const ok = async (what, asked) => {
	const { status, response } = await asked;
	assert.equal(status, 'ok', `${what}: ${JSON.stringify(response)?.slice(0, 200)}`);
	return response;
};

test('a whole run by wss: a large webhook in, fetched, a large state out', async () => {
	const id = await fixture(db);
	const body = JSON.stringify({ text: 'é'.repeat(1_000_000) });
	const posted = await fetched(`/i/${id.trigger}`, { method: 'POST', body });
	assert.equal(posted.status, 200, posted.text);
	const { run_id } = JSON.parse(posted.text);
	const socket = await connected();
	const queue = await joined(socket, 'worker:queue', { capacity: 1 });
	let runs = [];
	// Of a run that was inserted a moment ago the coordinator may not know yet.
	while (!runs.length) ({ runs } = await ok('claim', push(queue, 'claim', { demand: 1, queues: ['default'] })));
	assert.equal(runs[0].id, run_id);
	const run = await joined(socket, `run:${run_id}`, { token: runs[0].token });
	const clip = await ok('fetch:dataclip', push(run, 'fetch:dataclip', {}));
	const input = JSON.parse(Buffer.from(clip).toString());
	assert.equal(input.data.text.length, 1_000_000);
	await ok('start', push(run, 'run:start', { timestamp: timestamp() }));
	const final_state = { text: 'x'.repeat(6_000_000) };
	await ok('complete', push(run, 'run:complete', { reason: 'success', timestamp: timestamp(), final_state }));
	const [[state, length]] = await db.query(`SELECT r.state, length(d.body) FROM runs r
		JOIN dataclips d ON d.id = r.final_dataclip_id WHERE r.id = '${run_id}'`);
	assert.deepEqual([state, Number(length)], ['success', 6_000_011]);
	await gone(socket);
});

test('nothing is to be had but what is meant for outside', async () => {
	const statuses = {};
	for (const path of ['/healthz', '/readyz', '/metrics', '/', '/worker', '/worker/websocket', '/i/x'])
		statuses[path] = (await fetched(path)).status;
	assert.deepEqual(statuses, {
		'/healthz': 200, '/readyz': 200, '/metrics': 404, '/': 404, '/worker': 404, '/worker/websocket': 404, '/i/x': 405,
	});
	const large = await fetched('/i/x', { method: 'POST', body: 'x'.repeat(12 << 20) }).catch(() => ({ status: 413 }));
	assert.equal(large.status, 413);
});

test('a limit per address is one of the address behind the proxy, whatever it says of itself', async () => {
	const query = new URLSearchParams({ ...workerParams(secret), vsn: '2.0.0' });
	const url = `wss://127.0.0.1:${port}/worker/websocket?${query}`;
	const open = [];
	const shake = (localAddress, n) =>
		new Promise((resolve) => {
			const headers = { 'X-Forwarded-For': `203.0.113.${n}`, Forwarded: `for=203.0.113.${n}` };
			const ws = new (secure(localAddress, headers))(url);
			open.push(ws);
			ws.on('open', () => resolve(101));
			ws.on('unexpected-response', (asked, answer) => resolve(answer.statusCode));
			ws.on('error', () => {});
		});
	const statuses = [];
	// Six at each of the two coordinators; where one refuses the other is asked.
	for (let i = 0; i < 13; i++) statuses.push(await shake('127.0.0.9', i));
	assert.deepEqual(statuses, [...Array(12).fill(101), 503]);
	assert.equal(await shake('127.0.0.10', 1), 101);
	for (const ws of open) ws.terminate();
});

test('webhooks at once, with a key', async () => {
	const id = await fixture(db);
	const { stdout: key } = await new Promise((resolve, reject) =>
		execFile(process.env.INTERLOCK_BIN, ['-c', a.file, 'trigger-key', id.trigger], (error, stdout) =>
			error ? reject(error) : resolve({ stdout: stdout.trim() }),
		),
	);
	const post = (i) =>
		fetched(`/i/${id.trigger}`, {
			method: 'POST',
			body: JSON.stringify({ i }),
			headers: i % 10 ? { Authorization: `Bearer ${key}`, 'Idempotency-Key': `k${i % 50}` } : {},
		});
	const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => post(i)));
	const count = (status) => answers.filter((answer) => answer.status === status).length;
	assert.deepEqual([count(200), count(401)], [180, 20]);
	const [[runs]] = await db.query(`SELECT count(*) FROM runs WHERE workflow_id = '${id.workflow}'`);
	assert.equal(Number(runs), 45 + 1);
	await db.query(`DELETE FROM waiting WHERE workflow_id = '${id.workflow}'`);
});

// Workers send nothing twice: an event that is on its way when its socket is closed is lost, and its run
// with it. A coordinator that is stopped closes each socket at a quiet moment.
test('workers of ours lose nothing while each coordinator is restarted under their load', async () => {
	await db.query('DELETE FROM waiting');
	const id = await fixture(db);
	const RUNS = 120, WORKERS = 3;
	await db.query(`SELECT interlock_enqueue('${id.workflow}') FROM generate_series(2, ${RUNS})`);
	const program = fileURLToPath(new URL('worker.mjs', import.meta.url));
	const workers = Array.from({ length: WORKERS }, () =>
		spawn(
			process.execPath,
			['--experimental-vm-modules', '--no-warnings', program, '--url', `wss://127.0.0.1:${port}/worker`,
				'--secret-file', WORKER_SECRET_FILE, '--capacity', '4'],
			{ env: { ...process.env, NODE_EXTRA_CA_CERTS: file('cert.pem') }, stdio: 'ignore' },
		),
	);
	const finished = (n) =>
		db.until(
			`SELECT count(*), count(*) FILTER (WHERE state = 'success') FROM runs
				WHERE workflow_id = '${id.workflow}' AND finished_at IS NOT NULL`,
			([[all]]) => Number(all) >= n,
			60_000,
		);
	try {
		for (const part of [0.1, 0.3, 0.5]) {
			await finished(part * RUNS);
			await b.stop();
			b = await Coordinator.start('proxy-b', options(`unix:${file('b.sock')}`), urls);
		}
		await finished(0.7 * RUNS);
		const { address } = a;
		await a.stop();
		a = await Coordinator.start('proxy-a', options(address), urls);
		const [[all, good]] = await finished(RUNS);
		assert.deepEqual([Number(all), Number(good)], [RUNS, RUNS]);
	} finally {
		await Promise.all(
			workers.map((worker) => {
				worker.kill('SIGTERM');
				return worker.exitCode === null ? once(worker, 'exit') : null;
			}),
		);
	}
});

test('no token and no key is in its logs', async () => {
	const log = readFileSync(file('access.log'), 'utf8');
	assert.ok(log.includes('GET /worker/websocket 503'));
	const errors = existsSync(file('error.log')) ? readFileSync(file('error.log'), 'utf8') : '';
	const said = [log, errors, complaints].join('').match(/.*(token|Bearer|eyJ).*/);
	assert.equal(said?.[0], undefined);
});

test('it stops, and the workers are let go', async () => {
	nginx.kill('SIGTERM');
	await once(nginx, 'exit');
});

await stage.play();
