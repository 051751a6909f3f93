// What dies with a connection, asked for again by nobody: the official client behind a proxy that swallows what
// the coordinator answers (or what the client asks) and cuts. It comes back by itself, and what it still waits
// for is answered, or given back.

import assert from 'node:assert/strict';
import net from 'node:net';
import * as stage from '../wire/stage.mjs';
import { Coordinator, db, given, test } from '../wire/stage.mjs';
import { Socket, WebSocket, push, readSecret, workerParams } from './lib.mjs';

const secret = readSecret(process.env.WORKER_SECRET_FILE);
const start = (name) => Coordinator.start(name);
const a = await start('reconnect-a');
const HOUR = 3_600_000;

// Stands between one worker and the coordinators; `to` is where the next connection goes.
class Proxy {
	#pairs = new Set();
	swallows = null; // 'answers' or 'questions'

	constructor(to) {
		this.to = to;
		this.server = net.createServer((client) => {
			const [host, port] = this.to.split(':');
			const server = net.connect(port, host);
			const pair = [client, server];
			this.#pairs.add(pair);
			for (const socket of pair) {
				socket.on('error', () => {});
				socket.on('close', () => {
					this.#pairs.delete(pair);
					for (const each of pair) each.destroy();
				});
			}
			client.on('data', (data) => this.swallows === 'questions' || server.write(data));
			server.on('data', (data) => this.swallows === 'answers' || client.write(data));
		});
		stage.atEnd(() => this.server.close());
	}

	async open() {
		await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
		return this;
	}

	get url() {
		return `ws://127.0.0.1:${this.server.address().port}/worker`;
	}

	cut() {
		for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
		this.swallows = null;
	}
}

// A worker that is the official client and nothing else.
class Client {
	static async connect(coordinator) {
		const client = new Client();
		client.proxy = await new Proxy(coordinator.address).open();
		client.socket = new Socket(client.proxy.url, {
			params: workerParams(secret),
			transport: WebSocket,
			timeout: 30_000,
			reconnectAfterMs: () => 100,
			rejoinAfterMs: () => 100,
		});
		client.socket.connect();
		client.queue = await client.join('worker:queue', { capacity: 5 });
		return client;
	}

	join(topic, payload) {
		const channel = this.socket.channel(topic, payload);
		return new Promise((resolve, reject) => {
			channel.join().receive('ok', () => resolve(channel)).receive('error', reject);
		});
	}

	// Resolves when that channel has joined again by itself.
	rejoined(channel = this.queue) {
		return new Promise((resolve) => channel.joinPush.receive('ok', resolve));
	}

	claim({ queue }) {
		return push(this.queue, 'claim', { demand: 1, worker_name: null, queues: [queue] }, HOUR);
	}

	// Until there is one: of a run that was inserted or given back the coordinator may not have heard yet.
	async claimed(id) {
		for (const end = Date.now() + 10_000; ; ) {
			const { response: { runs } } = await this.claim(id);
			if (runs.length) return runs[0];
			assert.ok(Date.now() < end, 'the run is claimed');
		}
	}

	async run(id) {
		const { id: run, token } = await this.claimed(id);
		return this.join(`run:${run}`, { token });
	}

	// A run of which the coordinator has heard.
	async given() {
		const told = new Promise((resolve) => this.queue.on('work-available', resolve));
		const id = await given();
		await told;
		return id;
	}

	end() {
		return new Promise((resolve) => this.socket.disconnect(resolve));
	}
}

const becomes = async ({ run }, state) =>
	assert.deepEqual(
		await db.until(`SELECT state || ' ' || claim_epoch FROM runs WHERE id = '${run}'`, ([[is]]) => is === state, 10_000),
		[[state]],
	);
const late = (coordinator, what) => coordinator.metric(`interlock_late_replies_total{what="${what}"}`);

// -- Claims -------------------------------------------------------------------------------------------

test('a claim whose answer is lost: the next join answers it, and its run is given back at once', async () => {
	const client = await Client.connect(a);
	const id = await client.given();
	const before = await late(a, 'claim');
	client.proxy.swallows = 'answers';
	const asked = client.claim(id);
	await becomes(id, 'claimed 1');
	client.proxy.cut();
	assert.deepEqual(await asked, { status: 'ok', response: { runs: [] } });
	await becomes(id, 'available 2');
	assert.ok((await late(a, 'claim')) > before);
	const run = await client.run(id);
	assert.equal((await push(run, 'run:start', stage.runStart())).status, 'ok');
	await becomes(id, 'started 3');
	await client.end();
});

test('a claim that never arrived is answered too, ten cuts in a row', async () => {
	const client = await Client.connect(a);
	const id = await given();
	const none = await given();
	await db.query(`DELETE FROM waiting WHERE run_id = '${none.run}'`);
	for (let i = 0; i < 10; i++) {
		client.proxy.swallows = 'questions';
		const asked = [client.claim(none), client.claim(none)];
		await new Promise((resolve) => setImmediate(resolve));
		client.proxy.cut();
		for (const each of asked) assert.deepEqual(await each, { status: 'ok', response: { runs: [] } });
	}
	await client.run(id);
	await becomes(id, 'claimed 1');
	await client.end();
});

test('a coordinator is killed at a claim, and the worker goes to another one', async () => {
	const [first, second] = [await start('reconnect-first'), await start('reconnect-second')];
	const client = await Client.connect(first);
	const id = await client.given();
	client.proxy.swallows = 'answers';
	const asked = client.claim(id);
	await becomes(id, 'claimed 1');
	client.proxy.to = second.address;
	await first.kill();
	client.proxy.cut();
	assert.deepEqual(await asked, { status: 'ok', response: { runs: [] } });
	await becomes(id, 'available 2');
	const run = await client.run(id);
	assert.equal((await push(run, 'run:start', stage.runStart())).status, 'ok');
	await client.end();
	await second.stop();
});

test('what was claimed and joined, or is claimed on the new connection, stays', async () => {
	const client = await Client.connect(a);
	const [held, next] = [await given(), await given()];
	const run = await client.run(held);
	const back = Promise.all([client.rejoined(), client.rejoined(run)]);
	client.proxy.cut();
	await back;
	const { token } = await client.claimed(next);
	// Longer than it takes to give back what was not joined.
	await new Promise((resolve) => setTimeout(resolve, 1500));
	await client.join(`run:${next.run}`, { token });
	await becomes(held, 'claimed 1');
	await becomes(next, 'claimed 1');
	await client.end();
});

await stage.play(120);
