// Nothing to do: what a claim costs then, how soon it is over, and which workers are notified. On a database of its own,
// where nothing waits but what a test enqueues.
//
// alone: it measures how soon a claim is over

import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { Database, fixture } from '../client/db.mjs';
import * as stage from './stage.mjs';
import { Coordinator, test } from './stage.mjs';

const POLL_MS = 500;
const NOTIFIED_MS = 1000; // after which a run is offered to another worker
const SOON_MS = 30 * POLL_MS; // on a busy machine too, and no hour

const urls = await stage.newDatabase('idle');
const db = new Database(urls.migrate_url);
const claims = (poll_interval) => ({ claims: { poll_interval }, database: { queue_timeout: '1s' } });
const polls = await Coordinator.start('idle-polls', claims(`${POLL_MS}ms`), urls);
const listens = await Coordinator.start('idle-listens', claims('1h'), urls);

const id = await fixture(db);
const clear = () => db.query('DELETE FROM waiting');
const enqueue = (n = 1) =>
	db.query(`SELECT interlock_enqueue('${id.workflow}') FROM generate_series(1, ${n})`);

const idleWorker = async (coordinator, capacity = 1) => {
	const worker = await coordinator.worker();
	assert.equal((await worker.join('worker:queue', { capacity })).status, 'ok');
	return worker;
};
const claim = async (worker) => (await worker.ask('worker:queue', 'claim', { demand: 1 })).response.runs;
const empty = (coordinator) => coordinator.metric('interlock_empty_claims_total');
const asked = (coordinator) => coordinator.metric('interlock_batches_total{lane="claim",result="committed"}');

// Resolves when the coordinator knows that nothing waits; it looks when it is notified.
const knows = async (coordinator, worker) => {
	await db.query('NOTIFY interlock_waiting');
	for (const before = await empty(coordinator); (await empty(coordinator)) === before; )
		assert.deepEqual(await claim(worker), []);
};

// Claims until there is a run; resolves with how long it took.
const firstRun = async (worker) => {
	const begun = performance.now();
	while (!(await claim(worker)).length)
		if (performance.now() - begun > 60_000) assert.fail('the run is not found');
	return Math.round(performance.now() - begun);
};

// The workers that were notified, each as often as it was.
const notified = (workers) =>
	workers.flatMap((worker) => worker.pushed.filter(({ event }) => event === 'work-available').map(() => worker));
const notifiedOnce = async (workers, n) => {
	for (const end = Date.now() + 60_000; notified(workers).length < n; await pause(5))
		assert.ok(Date.now() < end, `${notified(workers).length} of ${n} were notified`);
	return notified(workers);
};

test('an empty claim costs no transaction', async () => {
	await clear();
	const N = 20, EACH = 50;
	const workers = await Promise.all(Array.from({ length: N }, () => idleWorker(polls)));
	await knows(polls, workers[0]);
	const commits = async () => {
		const [[n]] = await db.query(`SELECT xact_commit FROM pg_stat_database
			WHERE datname = current_database()`);
		return Number(n);
	};
	const [from, batches] = [await empty(polls), await asked(polls)];
	const before = await commits();
	const begun = performance.now();
	for (let i = 0; i < EACH; i++)
		for (const runs of await Promise.all(workers.map(claim))) assert.deepEqual(runs, []);
	const seconds = (performance.now() - begun) / 1000;
	assert.equal((await empty(polls)) - from, N * EACH);
	assert.equal((await asked(polls)) - batches, 0);
	// Sessions report what they did once a second.
	await pause(1500);
	const spent = (await commits()) - before;
	const polled = 20 * ((performance.now() - begun) / 1000); // by what asks at intervals, at most
	console.log(`${Math.round((N * EACH) / seconds)} empty claims a second, of ${N} workers; ` +
		`${spent} transactions of all backends meanwhile`);
	assert.ok(spent < EACH + polled, 'not even one for all workers together');
	for (const worker of workers) worker.cut();
});

test('an inserted run is noticed at once: NOTIFY', async () => {
	await clear();
	const worker = await idleWorker(listens);
	await knows(listens, worker);
	await enqueue();
	const ms = await firstRun(worker);
	console.log(`noticed by NOTIFY within ${ms} ms`);
	await notifiedOnce([worker], 1);
	worker.cut();
});

test('a webhook’s run is noticed at once, whatever becomes of the notification', async () => {
	await clear();
	const worker = await idleWorker(listens);
	await knows(listens, worker);
	await db.query('ALTER TABLE waiting DISABLE TRIGGER waiting_notify');
	await db.query(`UPDATE triggers SET enabled = true WHERE id = '${id.trigger}'`);
	const url = `http://${listens.address}/i/${id.trigger}`;
	assert.equal((await fetch(url, { method: 'POST', body: '{}' })).status, 200);
	assert.equal((await claim(worker)).length, 1);
	await notifiedOnce([worker], 1);
	await db.query('ALTER TABLE waiting ENABLE TRIGGER waiting_notify');
	worker.cut();
});

test('without any notification a claim is wrong for no longer than the poll', async () => {
	await clear();
	const worker = await idleWorker(polls);
	await knows(polls, worker);
	await db.query('ALTER TABLE waiting DISABLE TRIGGER waiting_notify');
	await enqueue();
	const ms = await firstRun(worker);
	await db.query('ALTER TABLE waiting ENABLE TRIGGER waiting_notify');
	console.log(`found after ${ms} ms, with a poll of ${POLL_MS} ms`);
	assert.ok(ms < SOON_MS);
	worker.cut();
});

test('a listener whose backend hangs keeps no run from being claimed, and is replaced', async () => {
	await clear();
	const worker = await idleWorker(polls);
	await knows(polls, worker);
	// That asked for the count last; the others have only prepared it when they began.
	const root = new Database(urls.admin_url);
	const listening = await root.until(`SELECT pid FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = 'interlockd'
			AND query LIKE '%(SELECT FROM waiting LIMIT%' AND query_start > backend_start + interval '1 s'`,
		(rows) => rows.length > 0);
	const connects = 'interlock_db_connects_total{lane="listen"}';
	const before = await polls.metric(connects);
	assert.ok(listening.length > 0 && listening.length <= 2);
	for (const [pid] of listening) process.kill(pid, 'SIGSTOP');
	try {
		await enqueue();
		const ms = await firstRun(worker);
		assert.ok(ms < SOON_MS, `${ms} ms`);
		for (const end = Date.now() + 60_000; (await polls.metric(connects)) === before; await pause(50))
			assert.ok(Date.now() < end, 'it is given up');
	} finally {
		for (const [pid] of listening) process.kill(pid, 'SIGCONT');
	}
	await knows(polls, worker);
	worker.cut();
});

test('a thousand idle workers and one new run: one is notified', async () => {
	await clear();
	const workers = [];
	while (workers.length < 1000)
		workers.push(...(await Promise.all(Array.from({ length: 50 }, () => idleWorker(polls)))));
	await knows(polls, workers[0]);
	const claimed = 'interlock_messages_total{event="claim",outcome="ok"}';
	const before = await polls.metric(claimed);
	// Of so many runs enqueued at `since`; what is slow to claim is offered again meanwhile.
	const offers = (runs, since) => runs * (1 + Math.floor((performance.now() - since) / NOTIFIED_MS));
	let since = performance.now();
	await enqueue();
	const [first] = await notifiedOnce(workers, 1);
	assert.equal((await claim(first)).length, 1);
	const allowed = offers(1, since);
	await pause(3 * POLL_MS);
	let all = notified(workers);
	assert.ok(all.length <= allowed, `${all.length} were notified of one run`);
	assert.equal((await polls.metric(claimed)) - before, 1);

	// A notified worker that does not claim is not waited for: another one follows, never the same one.
	since = performance.now();
	await enqueue();
	all = await notifiedOnce(workers, all.length + 3);
	assert.equal(new Set(all).size, all.length);
	assert.ok(all.length <= allowed + offers(1, since), `${all.length} were notified of two runs`);
	assert.equal((await claim(all.at(-1))).length, 1);
	await knows(polls, workers[0]);

	// As many as there are runs.
	const so = notified(workers).length;
	since = performance.now();
	await enqueue(7);
	await notifiedOnce(workers, so + 7);
	for (const worker of notified(workers).slice(so)) await claim(worker);
	assert.ok(notified(workers).length <= so + offers(7, since), `${notified(workers).length - so} were notified of seven runs`);
	for (const worker of workers) worker.cut();
});

test('only workers with capacity left are notified', async () => {
	await clear();
	await enqueue(4);
	const workers = [];
	for (let i = 0; i < 4; i++) {
		const worker = await idleWorker(polls);
		const [run] = await stage.claimOne(worker, {});
		assert.equal((await worker.join(`run:${run.id}`, { token: run.token })).status, 'ok');
		worker.pushed = [];
		workers.push(worker);
	}
	const idle = await idleWorker(polls);
	await knows(polls, idle);
	await enqueue(5);
	await notifiedOnce([...workers, idle], 1);
	await pause(2 * POLL_MS);
	assert.deepEqual(notified(workers), []);
	assert.ok(notified([idle]).length >= 1);
	await clear();
});

await stage.play();
