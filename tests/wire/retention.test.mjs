// What is older than [retention] says goes, whole, and nothing else does: beside retries, repetitions, late
// messages, another coordinator and a backend that dies, each of them in both orders.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { Database, blocked, fixture, journalOf, lockOrder, lose } from '../client/db.mjs';
import { timestamp } from '../client/lib.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, newDatabase, play, superseded, test } from './stage.mjs';

const urls = await newDatabase('retention');
// Its pruner looks for nothing: here the batches are asked for, each when it is wanted.
const a = await Coordinator.start('retention', { janitor: { interval: '10m' } }, urls);
const [db, other, root] = [urls.migrate_url, urls.migrate_url, urls.admin_url].map((url) => new Database(url));

// A run that has had a life: two steps, outputs, lines, a refused message, and is over for so long.
const finished = async (options, { ago = '10 d' } = {}) => {
	const held = await Held.join(a, await fixture(db, options));
	const { id } = held;
	const clips = [randomUUID(), randomUUID()];
	await held.say('run:start', stage.runStart());
	for (const [i, job] of [id.job_a, id.job_b].entries()) {
		const step = randomUUID();
		await held.say('step:start', stage.stepStart(step, job, { input_dataclip_id: i ? clips[0] : id.dataclip }));
		await held.say('run:log', { message: ['in'], step_id: step, timestamp: timestamp() });
		await held.say('step:complete', stage.stepComplete(step, job, { output_dataclip_id: clips[i], output_dataclip: '{"a":1}' }));
	}
	assert.equal((await held.say('run:complete', { reason: 'sideways' })).status, 'error');
	assert.equal((await held.say('run:complete', stage.runComplete({ final_state: { a: 2 } }))).status, 'ok');
	await old(id, ago);
	return Object.assign(held, { clips });
};
const old = (id, ago) => db.query(`UPDATE work_orders SET inserted_at = now() - interval '${ago}',
	last_activity = now() - interval '${ago}' WHERE id = '${id.work_order}'`);

const prune = async ({ project }, what = 'runs', keep = '1 d', most = 100, by = db) =>
	Object.fromEntries((await by.query(`SELECT * FROM interlock_prune('${project}', '${what}', '${keep}', ${most})`))
		.map(([name, n]) => [name, Number(n)]));
const tables = ['work_orders', 'runs', 'steps', 'run_steps', 'dataclips', 'log_lines', 'journal_counts', 'idempotency_keys',
	'wipes', 'waiting', 'in_flight'];
const rows = async ({ project }) => {
	const counts = tables.map((table) => `SELECT '${table}', count(*) FROM ${table} WHERE project_id = '${project}'`);
	return Object.fromEntries((await db.query(counts.join(' UNION ALL '))).filter(([, n]) => n > 0).map(([t, n]) => [t, Number(n)]));
};
const retry = (id, by = db) => by.query(`SELECT * FROM interlock_retry('${id.run}')`);
const verified = ({ project }) =>
	execFileSync(process.env.INTERLOCK_BIN, ['-c', a.file, 'verify', '--project', project], { encoding: 'utf8' });

test('a work order goes with all that belongs to it, and its journal stays', async () => {
	const { id } = await finished();
	assert.deepEqual(await rows(id), { work_orders: 1, runs: 1, steps: 2, run_steps: 2, dataclips: 4, log_lines: 2, journal_counts: 1 });
	const before = (await journalOf(db, id.run)).length;
	assert.deepEqual(await prune(id), { log_lines: 2, steps: 2, runs: 1, idempotency_keys: 0, dataclips: 4, work_orders: 1 });
	assert.deepEqual(await rows(id), {});
	assert.equal((await journalOf(db, id.run)).length, before);
	assert.match(verified(id), / 0 differences$/m);
});

test('dataclips lose their texts, runs their lines, each once', async () => {
	const { id, clips } = await finished();
	assert.deepEqual(await prune(id, 'dataclips'), { dataclips: 4, work_orders: 1 });
	assert.deepEqual(await db.query(`SELECT count(body), count(wiped_at) FROM dataclips WHERE project_id = '${id.project}'`), [['0', '4']]);
	assert.deepEqual(await db.query(`SELECT output_dataclip_id FROM steps WHERE project_id = '${id.project}' ORDER BY inserted_at`),
		clips.map((clip) => [clip]));
	assert.deepEqual(await prune(id, 'dataclips'), { dataclips: 0, work_orders: 0 });
	assert.deepEqual(await prune(id, 'logs'), { log_lines: 2, work_orders: 1 });
	assert.deepEqual(await prune(id, 'logs'), { log_lines: 0, work_orders: 0 });
	await assert.rejects(retry(id), /the input of run .* has been wiped/);
	assert.match(verified(id), / 0 differences$/m);
	assert.equal((await prune(id)).work_orders, 1);
	assert.deepEqual(await rows(id), {});
});

test('nothing goes before its time, or while it is not over', async () => {
	const { id } = await finished(undefined, { ago: '23 h' });
	assert.equal((await prune(id)).work_orders, 0);
	const waits = await fixture(db);
	const runs = await Held.join(a, await fixture(db));
	for (const each of [waits, runs.id]) {
		await old(each, '10 d');
		for (const what of ['runs', 'dataclips', 'logs']) assert.equal((await prune(each, what)).work_orders, 0);
	}
	// Inserted by an application, so that the state of the work order does not say it.
	const lone = await finished();
	await db.query(`INSERT INTO runs (project_id, id, work_order_id, workflow_id, snapshot_id, starting_node_id)
		SELECT project_id, gen_random_uuid(), work_order_id, workflow_id, snapshot_id, starting_node_id
		FROM runs WHERE id = '${lone.id.run}'`);
	assert.equal((await prune(lone.id)).work_orders, 0);
	await db.query('DELETE FROM waiting');
	await runs.worker.cut();
});

test('a dataclip that another run has as its input, or its final state, goes with the last of them', async () => {
	const [first, second] = [await finished(), await finished()];
	for (const column of ['dataclip_id', 'final_dataclip_id']) {
		const third = await db.query(`UPDATE runs SET project_id = project_id, ${column} = '${first.clips[1]}'
			WHERE id = '${first.id.run}' RETURNING id`);
		assert.equal(third.length, 1);
	}
	// The second work order moves into the project of the first, as another that uses its dataclip.
	const order = randomUUID();
	await db.query(`INSERT INTO work_orders (project_id, id, workflow_id, state, inserted_at, last_activity)
		SELECT project_id, '${order}', workflow_id, 'success', now() - interval '2 d', now() - interval '2 d'
		FROM work_orders WHERE id = '${first.id.work_order}';
		INSERT INTO runs (project_id, id, work_order_id, workflow_id, snapshot_id, starting_node_id, dataclip_id, state,
			finished_at, finalized_at)
		SELECT project_id, gen_random_uuid(), '${order}', workflow_id, snapshot_id, starting_node_id, '${first.clips[0]}',
			'success', now(), now()
		FROM runs WHERE id = '${first.id.run}'`);
	assert.deepEqual(await prune(first.id, 'dataclips', '5 d'), { dataclips: 3, work_orders: 1 });
	assert.equal((await prune(first.id, 'runs', '5 d')).dataclips, 3);
	assert.deepEqual(await db.query(`SELECT id, body FROM dataclips WHERE project_id = '${first.id.project}'`), [[first.clips[0], '{"a":1}']]);
	assert.equal((await prune(first.id, 'runs', '1 d')).dataclips, 1);
	assert.deepEqual(await rows(first.id), {});
	assert.equal((await rows(second.id)).dataclips, 4);
});

test('what a lost run was sent too late, and what was stored and not used, goes as well', async () => {
	const held = await Held.join(a, await fixture(db));
	const { id } = held;
	const step = randomUUID();
	await held.say('run:start', stage.runStart());
	await held.say('step:start', stage.stepStart(step, id.job_a));
	await lose(db, id, { ago: '2 h' });
	await held.say('step:complete', stage.stepComplete(step, id.job_a, { output_dataclip_id: randomUUID(), output_dataclip: '{}' }));
	await held.say('run:complete', stage.runComplete({ final_state: { late: true } }));
	assert.deepEqual([(await rows(id)).dataclips, (await journalOf(db, id.run)).at(-1).outcome], [3, 'too_late']);
	await old(id, '2 d');
	assert.equal((await prune(id)).dataclips, 3);
	assert.deepEqual(await rows(id), {});
});

test('batches are as large as they are asked to be', async () => {
	const { id } = await finished();
	await db.query(`INSERT INTO work_orders (project_id, id, workflow_id, state, inserted_at, last_activity)
		SELECT project_id, gen_random_uuid(), workflow_id, 'success', now() - interval '2 d', now() - interval '2 d'
		FROM work_orders, generate_series(1, 25) WHERE id = '${id.work_order}'`);
	const sizes = [];
	for (let n = -1; n !== 0; sizes.push(n)) n = (await prune(id, 'runs', '1 d', 10)).work_orders;
	assert.deepEqual(sizes, [10, 10, 6, 0]);
});

test('a retry that came first keeps its work order, one that comes behind finds no run', async () => {
	const { id } = await finished();
	await other.query('BEGIN');
	await retry(id, other);
	assert.equal((await prune(id)).work_orders, 0); // and does not wait
	await other.query('COMMIT');
	assert.equal((await prune(id)).work_orders, 0);
	assert.equal((await rows(id)).runs, 2);

	const { id: next } = await finished();
	await other.query('BEGIN');
	assert.equal((await prune(next, 'runs', '1 d', 100, other)).work_orders, 1);
	const retried = assert.rejects(retry(next), /no run/);
	await blocked(root, other);
	await other.query('COMMIT');
	await retried;
	assert.deepEqual(await rows(next), {});
	await db.query('DELETE FROM waiting');
});

test('a retry that begins between the look and the lock keeps its work order', async () => {
	const { id } = await finished();
	await other.query('BEGIN ISOLATION LEVEL READ COMMITTED');
	await other.query(`SELECT FROM interlock_due('${id.project}', 'runs', '1 d', 10)`);
	await retry(id);
	assert.equal((await prune(id, 'runs', '1 d', 100, other)).work_orders, 0);
	await other.query('COMMIT');
	await db.query('DELETE FROM waiting');
});

test('a message of a run that is pruned is answered as of one that is not there', async () => {
	const held = await finished();
	const { id } = held;
	await other.query('BEGIN');
	assert.equal((await prune(id, 'runs', '1 d', 100, other)).work_orders, 1);
	const reply = held.say('run:complete', stage.runComplete());
	await blocked(root, other);
	await other.query('COMMIT');
	assert.deepEqual(stage.answer(await reply), superseded);
	for (const [event, message] of [
		['run:start', stage.runStart()],
		['step:start', stage.stepStart(randomUUID(), id.job_a)],
		['step:complete', stage.stepComplete(randomUUID(), id.job_a, { output_dataclip_id: randomUUID(), output_dataclip: '{}' })],
		['run:complete', stage.runComplete({ final_state: { n: 'x'.repeat(100_000) } })],
	])
		assert.deepEqual(stage.answer(await held.say(event, message)), superseded, event);
	const { status, response } = await held.say('run:log', { message: ['late'] });
	assert.deepEqual([status, Object.keys(response.warnings)], ['ok', ['state']]);
	const again = await held.rejoin(a);
	assert.equal(again.status, 'ok');
	assert.deepEqual((await held.say('fetch:plan')).response.jobs, []);
	assert.deepEqual(await rows(id), {});
	assert.match(verified(id), / 0 differences$/m);
});

test('a message that has locked the work order is not waited for', async () => {
	const { id } = await finished();
	await other.query('BEGIN');
	await other.query(lockOrder(id.work_order));
	await db.query("SET lock_timeout = '2s'");
	assert.equal((await prune(id)).work_orders, 0);
	await db.query('RESET lock_timeout');
	await other.query('COMMIT');
	assert.equal((await prune(id)).work_orders, 1);
});

test('a key is kept as long as its work order: before the prune it answers that, behind it makes a new one', async () => {
	const id = await fixture(db);
	await db.query(`UPDATE work_orders SET state = 'success' WHERE id = '${id.work_order}'; DELETE FROM waiting`);
	const post = async () => {
		const reply = await fetch(`http://${a.address}/i/${id.trigger}`, { method: 'POST', body: '{}',
			headers: { 'idempotency-key': 'k', 'content-type': 'application/json' } });
		return [reply.status, (await reply.json()).work_order_id];
	};
	const [, first] = await post();
	assert.deepEqual(await post(), [200, first]);
	await db.query(`UPDATE runs SET state = 'success', claimed_at = now(), finished_at = now(), finalized_at = now()
		WHERE project_id = '${id.project}'; UPDATE work_orders SET state = 'success' WHERE project_id = '${id.project}'; DELETE FROM waiting`);
	await old({ work_order: first }, '10 d');
	await other.query('BEGIN');
	assert.equal((await prune(id, 'runs', '1 d', 100, other)).idempotency_keys, 1);
	const repeated = post();
	await blocked(root, other);
	await other.query('COMMIT');
	const [status, second] = await repeated;
	assert.deepEqual([status, second === first], [200, false]);
	await db.query('DELETE FROM waiting');
});

test('one session prunes at a time, and what dies in the middle has changed nothing', async () => {
	const { id } = await finished();
	const before = await rows(id);
	const victim = new Database(urls.migrate_url);
	await victim.query('BEGIN');
	const [[pid]] = await victim.query('SELECT pg_backend_pid()');
	assert.equal((await prune(id, 'runs', '1 d', 100, victim)).runs, 1);
	assert.deepEqual(await prune(id), {});
	await root.query(`SELECT pg_terminate_backend(${pid})`);
	await root.until(`SELECT count(*) FROM pg_stat_activity WHERE pid = ${pid}`, ([[n]]) => n === '0');
	assert.deepEqual(await rows(id), before);
	assert.equal((await prune(id)).runs, 1);
});

test('partitions of which all is too old are dropped, the oldest first; a session that reads them is not disturbed', async () => {
	const drop = async (table) => (await db.query(`SELECT interlock_drop_partition('${table}', '1 d')`))[0][0];
	const partition = async (table, days) => {
		const [[name]] = await db.query(`SELECT '${table}_' || to_char((now() AT TIME ZONE 'UTC')::date - ${days}, 'YYYYMMDD')`);
		const day = (n) => `(date_trunc('day', now(), 'UTC') - interval '${n} d')`;
		const bound = (n) => (table === 'log_lines' ? `interlock_uuid_at(${day(n)})` : day(n));
		const [[from, to]] = await db.query(`SELECT ${bound(days)}, ${bound(days - 1)}`);
		await db.query(`CREATE TABLE ${name} PARTITION OF ${table} FOR VALUES FROM ('${from}') TO ('${to}')`);
		return name;
	};
	for (const table of ['log_lines', 'transitions']) {
		const [five, four] = [await partition(table, 5), await partition(table, 4)];
		await other.query('BEGIN');
		await other.query(`SELECT count(*) FROM ${table}`);
		assert.equal(await drop(table), 'null');
		await other.query('COMMIT');
		assert.deepEqual([await drop(table), await drop(table), await drop(table)], [five, four, 'null']);
	}
	assert.equal(await drop('runs'), 'null');
});

test('two coordinators prune by themselves, and their logs and metrics say so', async () => {
	const old_ones = [];
	for (let i = 0; i < 5; i++) old_ones.push((await finished()).id);
	const fresh = await finished(undefined, { ago: '0 s' });
	const options = { janitor: { interval: '10ms' }, retention: { runs: '1h', dataclips: '30m', logs: '30m' } };
	const both = await Promise.all(['b', 'c'].map((name) => Coordinator.start(`retention-${name}`, options, urls)));
	for (const id of old_ones)
		await db.until(`SELECT count(*) FROM work_orders WHERE project_id = '${id.project}'`, ([[n]]) => n === '0');
	for (const id of old_ones) assert.deepEqual(await rows(id), {});
	assert.equal((await rows(fresh.id)).runs, 1);
	for (const each of both) await each.stop();
	assert.doesNotMatch(both.map((each) => each.logged).join(''), /pruning:/);
	assert.match(verified(fresh.id), / 0 differences$/m);
});

await play();
