// A worker that is refused all the time neither fills the journal nor slows other workers: the first few messages of a
// kind are kept, the rest is counted; its socket is read at the rate at which it may be refused, and other workers
// are served.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import * as stage from '../wire/stage.mjs';
import { Coordinator, Held, db, given, play, test } from '../wire/stage.mjs';

const { INTERLOCK_BIN } = process.env;
const ROWS = 10; // of a kind
const REFUSED = 2000;
const [BURST, RATE] = [500, 100]; // what a worker may be refused at once, and a second
const paused = 'interlock_paused_sockets{reason="refused"}';
const pauses = 'interlock_socket_pauses_total{reason="refused"}';

const a = await Coordinator.start('faults-refused');
const started = async () => {
	const held = await Held.join(a, await given());
	assert.equal((await held.say('run:start', stage.runStart())).status, 'ok');
	return held;
};
const kinds = ({ run }) =>
	db.query(`SELECT event, outcome, code, (SELECT count(*) FROM transitions t WHERE t.run_id = c.run_id
			AND t.event = c.event AND t.outcome = c.outcome AND coalesce(t.code, '') = c.code), n
		FROM journal_counts c WHERE run_id = '${run}' ORDER BY 1, 2, 3`);
const bytes = async ({ run }) =>
	Number((await db.query(`SELECT coalesce(sum(pg_column_size(t)), 0) FROM transitions t WHERE run_id = '${run}'`))[0][0]);
const interlock = async (...args) =>
	(await promisify(execFile)(INTERLOCK_BIN, ['-c', a.file, ...args])).stdout.split('\n').filter(Boolean).map(JSON.parse);

test('thousands of refused messages: the journal stays small, and another worker is served', async () => {
	const [held, other] = [await started(), await started()];
	const message = { reason: 'nonsense', error_message: randomUUID().repeat(50) };
	const begun = Date.now();
	let answered = false;
	const replies = Promise.all(Array.from({ length: REFUSED }, () => held.say('run:complete', message)));
	replies.finally(() => (answered = true));
	const slowed = await a.untilMetric(pauses, (n) => n > 0 || answered);
	for (let i = 0; i < 20; i++) {
		const step = randomUUID();
		assert.equal((await other.say('step:start', stage.stepStart(step, other.id.job_a))).status, 'ok');
		assert.equal((await other.say('step:complete', stage.stepComplete(step, other.id.job_a))).status, 'ok');
	}
	assert.equal((await other.say('run:complete', stage.runComplete())).status, 'ok');
	for (const { status, response } of await replies)
		assert.deepEqual([status, response.code], ['error', 'invalid']);
	// What is read at once goes beyond the burst, by what may be open.
	const least = (REFUSED - BURST - 2 * RATE) / RATE;
	const took = Date.now() - begun;
	assert.ok(took > least * 1000, `it took ${took} ms`);
	assert.ok(slowed > 0 || took > 1000 * (REFUSED - BURST) / RATE, 'it is slowed, unless the machine is slower');
	assert.deepEqual(await kinds(held.id), [['run:complete', 'refused', 'invalid', String(ROWS), String(REFUSED)]]);
	assert.ok((await bytes(held.id)) < 100_000);
	assert.equal(await a.untilMetric(paused, (n) => n === 0), 0);
	// It was in the wrong, and goes on.
	assert.equal((await held.say('run:complete', stage.runComplete())).status, 'ok');
	await held.worker.cut();
	await other.worker.cut();
});

test('whatever changes nothing is counted, by kind; what changes something has its row', async () => {
	const held = await started();
	const step = stage.stepStart(randomUUID(), held.id.job_a);
	for (let i = 0; i <= 3 * ROWS; i++) {
		await held.say('step:start', step);
		await held.say('step:complete', stage.stepComplete(randomUUID(), randomUUID()));
		await held.say('run:start', stage.runStart());
	}
	const end = stage.runComplete();
	for (let i = 0; i <= 2 * ROWS; i++) await held.say('run:complete', end);
	assert.deepEqual(await kinds(held.id), [
		['run:complete', 'replayed', '', String(ROWS), String(2 * ROWS)],
		['run:start', 'refused', 'already_started', String(ROWS), String(3 * ROWS + 1)],
		['step:complete', 'refused', 'not_found', String(ROWS), String(3 * ROWS + 1)],
		['step:start', 'replayed', '', String(ROWS), String(3 * ROWS)],
	]);
	const [sum] = await interlock('verify', '--json', '--project', held.id.project);
	assert.deepEqual(sum, { runs: 1, not_covered: 0, differences: 0 });
	const more = (rows) => rows.filter((row) => row.more !== null).map((row) => `${row.event} ${row.outcome} ${row.code} ${row.more}`);
	assert.deepEqual(more(await interlock('journal', held.id.run, '--json')), [
		`step:start replayed null ${2 * ROWS}`,
		`step:complete refused not_found ${2 * ROWS + 1}`,
		`run:start refused already_started ${2 * ROWS + 1}`,
		`run:complete replayed null ${ROWS}`,
	]);
	assert.deepEqual(more(await interlock('journal', held.id.run, '--json', '--outcome', 'refused')).length, 2);
});

test('two coordinators that are refused for one run count all of it', async () => {
	const b = await Coordinator.start('faults-refused-b');
	const held = await started();
	const again = Object.assign(new Held(), { id: held.id, topic: held.topic, token: held.token, worker: await b.worker() });
	assert.equal((await again.join()).status, 'ok');
	const both = [held, again].flatMap((each) => Array.from({ length: 50 }, () => each.say('run:start', stage.runStart())));
	await Promise.all(both);
	assert.deepEqual(await kinds(held.id), [
		['phx_join', 'noted', '', '1', '1'],
		['run:start', 'refused', 'already_started', String(ROWS), '100'],
	]);
	await b.stop();
});

test('interlock prune forgets the counts of what is older than keep', async () => {
	const held = await started();
	await held.say('run:start', stage.runStart());
	await db.query(`UPDATE journal_counts SET at = now() - interval '40 days' WHERE run_id = '${held.id.run}'`);
	await interlock('prune');
	assert.deepEqual(await kinds(held.id), []);
});

await play();
