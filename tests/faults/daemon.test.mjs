// The daemon goes away under load: asked to, and killed. Its workers come back with the tokens that they
// have, and every run is brought to its end.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { connect, join, push, readSecret, workerParams } from '../client/lib.mjs';
import { Coordinator, claimOne, db, given, play, runComplete, runStart, stepStart, test } from '../wire/stage.mjs';
import { check } from './checker.mjs';
import { Load, runs, stamp } from './load.mjs';

const DRAIN_MS = 3000;

const start = (server) =>
	Coordinator.start('faults-daemon', { server: { drain_timeout: `${DRAIN_MS}ms`, ...server } });
let a = await start();
const { address } = a;
const again = async () => (a = await start({ listen: address }));
const load = new Load({ url: a.url, id: await runs(db, 3000), workers: 20 });

// A worker that is nothing but the official client: it knows of no fault.
const id = await given();
const socket = await connect(a.url, workerParams(readSecret(process.env.WORKER_SECRET_FILE)));
const queue = await join(socket, 'worker:queue', { capacity: 5 });
const claim = { demand: 1, worker_name: 'phoenix', queues: [id.queue] };
let claimed = [];
// Of a run that was inserted a moment ago the coordinator may not know yet.
while (!claimed.length) claimed = (await push(queue, 'claim', claim)).response.runs;
const [{ token }] = claimed;
const channel = await join(socket, `run:${id.run}`, { token });
// Resolves when it has joined again by itself.
const rejoined = () => new Promise((resolve) => channel.joinPush.receive('ok', resolve));

test('SIGTERM under full load: nothing said is without an answer, and it leaves with 0', async () => {
	await load.progress();
	assert.equal((await push(channel, 'run:start', runStart({ timestamp: stamp() }))).status, 'ok');
	const back = rejoined();
	const begun = Date.now();
	await a.stop();
	assert.ok(Date.now() - begun < DRAIN_MS + 25_000, `it took ${Date.now() - begun} ms`);
	for (const { closes } of load.lines) assert.deepEqual(closes, [1001]);
	await again();
	await load.progress();
	await load.hold();
	await check(db, load);
	// Each socket was closed at a quiet moment: no event was on its way.
	assert.equal(load.said.filter(({ tries }) => tries > 1).length, 0);
	// Nothing was stored without a reply to its worker.
	const replayed = await db.query(`SELECT event FROM transitions
		WHERE project_id = '${load.id.project}' AND outcome = 'replayed'`);
	assert.deepEqual(replayed, []);
	load.release();
	await back;
	const step = stepStart(randomUUID(), id.job_a, { timestamp: stamp() });
	assert.equal((await push(channel, 'step:start', step)).status, 'ok');
});

test('kill -9 under full load: who had no answer says it again, and it is there once', async () => {
	await load.progress();
	const back = rejoined();
	await a.kill();
	await again();
	await load.progress();
	await back;
	assert.equal((await push(channel, 'run:complete', runComplete({ timestamp: stamp() }))).status, 'ok');
	await load.finish();
	await check(db, load);
	assert.ok(load.said.some(({ tries }) => tries > 1), 'some message had no reply');
	const [[state]] = await db.query(`SELECT state FROM runs WHERE id = '${id.run}'`);
	assert.equal(state, 'success');
	socket.disconnect();
});

test('no backend outlives the daemon that it worked for, not even one that waits for a lock', async () => {
	const waiting = await given();
	const held = await a.worker();
	await held.join('worker:queue', { capacity: 5 });
	const [{ token }] = await claimOne(held, { ...claim, queues: [waiting.queue] });
	const topic = `run:${waiting.run}`;
	await held.join(topic, { token });
	await db.query('BEGIN');
	await db.query(`SELECT FROM work_orders WHERE id = '${waiting.work_order}' FOR UPDATE`);
	held.ask(topic, 'run:start', runStart({ timestamp: stamp() })).catch(() => {});
	const waits = `SELECT count(DISTINCT pid) FROM pg_locks
		WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))`;
	assert.deepEqual(await db.until(waits, ([[n]]) => n !== '0'), [['1']]);
	await a.kill();
	assert.deepEqual(await db.until(waits, ([[n]]) => n === '0'), [['0']]);
	await db.query('COMMIT');
});

await play();
