// What dies with a connection, asked for again by nobody: the official client behind a proxy that swallows what
// the coordinator answers (or what the client asks) and cuts. It comes back by itself, and what it still waits
// for is answered, or given back.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import net from 'node:net';
import { Database, blocked } from './db.mjs';
import * as stage from '../wire/stage.mjs';
import { Coordinator, databaseUrl, db, given, test } from '../wire/stage.mjs';
import { Socket, WebSocket, push, readSecret, workerParams } from './lib.mjs';

const secret = readSecret(process.env.WORKER_SECRET_FILE);
const start = (name) => Coordinator.start(name);
const a = await start('reconnect-a');
const holder = new Database(databaseUrl);
const HOUR = 3_600_000;

// Stands between one worker and the coordinators; `to` is where the next connection goes.
class Proxy {
	#pairs = new Set();
	swallows = null; // 'answers', 'questions', or 'frames': all answers but the one to the handshake

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
			let open = false;
			server.on('data', (data) => {
				if (this.swallows === 'answers' || (open && this.swallows === 'frames')) return;
				const end = data.indexOf('\r\n\r\n');
				client.write(open || this.swallows !== 'frames' ? data : data.subarray(0, end + 4));
				open = true;
			});
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

	cut(swallows = null) {
		for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
		this.swallows = swallows;
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
		for (const end = Date.now() + 60_000; ; ) {
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
		await db.until(`SELECT state || ' ' || claim_epoch FROM runs WHERE id = '${run}'`, ([[is]]) => is === state),
		[[state]],
	);
const late = (coordinator, what) => coordinator.metric(`interlock_late_replies_total{kind="${what}"}`);

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

// -- A run's messages ---------------------------------------------------------------------------------

const told = (held, event, payload) => push(held, event, payload, 20_000);
const journal = async ({ run }, event) =>
	(await db.query(`SELECT outcome FROM transitions WHERE run_id = '${run}' AND event = '${event}' ORDER BY id`)).flat();

test('replies that were lost are sent again, whatever the event, and nothing is stored twice', async () => {
	const client = await Client.connect(a);
	const id = await given({ input: '{"a":1}', secret: { user: 'u', password: 'p' } });
	const run = await client.run(id);
	const before = await late(a, 'reply');
	let answers = 0;
	const lost = async (event, payload, pattern) => {
		client.proxy.swallows = 'answers';
		const from = await a.metric(`interlock_messages_total{event="${event}",outcome="ok"}`);
		const asked = told(run, event, payload);
		await a.untilMetric(`interlock_messages_total{event="${event}",outcome="ok"}`, (n) => n > from);
		client.proxy.cut();
		const { status, response } = await asked;
		assert.equal(status, 'ok', `${event}: ${JSON.stringify(response)}`);
		answers++;
		return response;
	};
	assert.equal((await lost('fetch:plan', {})).id, id.run);
	assert.deepEqual(await lost('run:batch_logs', { logs: [{ message: ['x'], timestamp: stage.runStart().timestamp }] }), {});
	assert.equal(Buffer.from(await lost('fetch:dataclip', { id: id.dataclip })).toString(), '{"a":1}');
	assert.deepEqual(await lost('fetch:credential', { id: id.credential }), { user: 'u', password: 'p' });
	await lost('run:start', stage.runStart());
	const step_id = randomUUID();
	assert.deepEqual(await lost('step:start', stage.stepStart(step_id, id.job_a)), { step_id });
	assert.deepEqual(await lost('step:complete', stage.stepComplete(step_id, id.job_a)), { step_id });
	await lost('run:complete', stage.runComplete());
	await becomes(id, 'success 1');
	for (const event of ['run:start', 'step:start', 'step:complete', 'run:complete'])
		assert.deepEqual(await journal(id, event), ['accepted'], event);
	assert.ok((await late(a, 'reply')) >= before + answers);
	await client.end();
});

const planned = async (client, coordinator, id, how) => {
	const run = await client.run(id);
	client.proxy.swallows = how;
	const asked = told(run, 'fetch:plan', {});
	if (how === 'answers')
		await coordinator.untilMetric('interlock_messages_total{event="fetch:plan",outcome="ok"}', (n) => n > 0);
	else await new Promise((resolve) => setImmediate(resolve));
	return { run, asked };
};

test('a plan that was asked for and never heard of is answered at the next join', async () => {
	const client = await Client.connect(a);
	const id = await given();
	const before = await late(a, 'plan');
	const { run, asked } = await planned(client, a, id, 'questions');
	client.proxy.cut();
	const { status, response } = await asked;
	assert.deepEqual([status, response.id, response.jobs.length], ['ok', id.run, 2]);
	assert.ok((await late(a, 'plan')) > before);
	// It has said something since: the plan cannot be what it waits for.
	await told(run, 'run:log', { message: ['x'], timestamp: stage.runStart().timestamp });
	const after = await late(a, 'plan');
	client.proxy.swallows = 'questions';
	const start = push(run, 'run:start', stage.runStart(), 2000);
	await new Promise((resolve) => setImmediate(resolve));
	const back = client.rejoined(run);
	client.proxy.cut();
	await back;
	assert.equal((await start).status, 'timeout', 'no ok for what was not stored');
	assert.equal(await late(a, 'plan'), after);
	await client.end();
});

test('a coordinator is killed at the plan, and the worker goes to another one', async () => {
	const [first, second] = [await start('reconnect-plan-a'), await start('reconnect-plan-b')];
	const client = await Client.connect(first);
	const id = await given();
	const { run, asked } = await planned(client, first, id, 'answers');
	client.proxy.to = second.address;
	await first.kill();
	client.proxy.cut();
	const { status, response } = await asked;
	assert.deepEqual([status, response.id], ['ok', id.run]);
	assert.equal((await told(run, 'run:start', stage.runStart())).status, 'ok');
	await client.end();
	await second.stop();
});

test('what is decided while its worker is away is answered when it is back', async () => {
	const client = await Client.connect(a);
	const id = await given();
	const run = await client.run(id);
	await told(run, 'run:start', stage.runStart());
	await holder.query('BEGIN');
	await holder.query(`SELECT FROM runs WHERE id = '${id.run}' FOR UPDATE`);
	const asked = told(run, 'run:complete', stage.runComplete());
	await blocked(db, holder);
	client.proxy.cut();
	await a.untilMetric('interlock_sockets', (n) => n === 0);
	await holder.query('COMMIT');
	assert.deepEqual(await asked, { status: 'ok', response: {} });
	await becomes(id, 'success 1');
	await client.end();
});

test('a refusal is sent again as it was; what never arrived has no answer', async () => {
	const client = await Client.connect(a);
	const id = await given();
	const run = await client.run(id);
	await told(run, 'run:start', stage.runStart());
	client.proxy.swallows = 'answers';
	const refused = told(run, 'run:start', stage.runStart());
	await a.untilMetric('interlock_messages_total{event="run:start",outcome="already_started"}', (n) => n > 0);
	client.proxy.cut();
	assert.equal((await refused).response.code, 'already_started');
	const back = client.rejoined(run);
	client.proxy.swallows = 'questions';
	const unheard = push(run, 'run:complete', stage.runComplete(), 2000);
	await new Promise((resolve) => setImmediate(resolve));
	client.proxy.cut();
	await back;
	assert.equal((await unheard).status, 'timeout', 'no ok for what was not stored');
	await becomes(id, 'started 1');
	await client.end();
});

test('ten cuts in a row at one reply, and only its own ref is answered', async () => {
	const client = await Client.connect(a);
	const id = await given();
	const run = await client.run(id);
	client.proxy.swallows = 'answers';
	const asked = told(run, 'run:start', stage.runStart());
	await becomes(id, 'started 1');
	const from = await late(a, 'reply');
	for (let i = 0; i < 10; i++) {
		client.proxy.cut('frames');
		await a.untilMetric('interlock_late_replies_total{kind="reply"}', (n) => n > from + i);
	}
	client.proxy.cut();
	assert.deepEqual(await asked, { status: 'ok', response: {} });
	// Its next request shows that it has it.
	await told(run, 'run:log', { message: ['x'], timestamp: stage.runStart().timestamp });
	const settled = await late(a, 'reply');
	const back = client.rejoined(run);
	client.proxy.cut();
	await back;
	assert.ok((await late(a, 'reply')) <= settled + 1, 'the reply to the log line alone');
	assert.deepEqual(await journal(id, 'run:start'), ['accepted']);
	await client.end();
});

await stage.play();
