// Thousands of runs are overdue at once and three janitors come for them, while workers go on. Each run is
// taken once, in batches of a bounded size, and the workers hardly notice. $INTERLOCK_LOST says how many.
//
// alone: it compares how soon messages are answered

import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { fixture } from '../client/db.mjs';
import { play, runStart, test } from '../wire/stage.mjs';
import { runs } from './load.mjs';
import { hold, journal, enforces, stageFor, states } from './silence/lib.mjs';

const LOST = Number(process.env.INTERLOCK_LOST ?? 10_000);
const BATCH = 128; // runs in one transaction
const SPEAKERS = 5, EVERY_MS = 100, BEFORE_MS = 5000;
const MESSAGES = Math.ceil(100 + LOST / 50); // of each, at most

// Runs that were started by workers of whom nothing is known.
const inherit = async (db, n) => {
	const id = await fixture(db);
	const ours = `project_id = '${id.project}'`;
	await db.query(`DELETE FROM waiting WHERE ${ours}`);
	await db.query(`INSERT INTO work_orders (project_id, id, workflow_id, state)
		SELECT '${id.project}', gen_random_uuid(), '${id.workflow}', 'running' FROM generate_series(2, ${n})`);
	await db.query(`INSERT INTO runs (project_id, id, work_order_id, workflow_id, snapshot_id, starting_node_id)
		SELECT project_id, gen_random_uuid(), id, workflow_id, '${id.snapshot}', '${id.trigger}'
		FROM work_orders WHERE ${ours} AND id <> '${id.work_order}'`);
	await db.query(`DELETE FROM waiting WHERE ${ours}`);
	await db.query(`UPDATE runs SET state = 'started', claimed_at = now(), joined_at = now(), started_at = now(),
		claim_epoch = 1, claim_id = gen_random_uuid(), worker_name = 'w' || seq % 100,
		deadline_at = now() + interval '1 h' WHERE ${ours}`);
	await db.query(`INSERT INTO in_flight SELECT project_id, workflow_id, id FROM runs WHERE ${ours}`);
	await db.query(`UPDATE work_orders SET state = 'running' WHERE ${ours}`);
	return id;
};

// Each start of a run, at its time whether the one before is answered or not: {at, ms}.
const speak = async (helds, times, until) => {
	const open = [];
	while (helds.length && !until.over) {
		const at = performance.now();
		open.push(
			helds.pop().say('run:start', runStart()).then(({ status }) => {
				assert.equal(status, 'ok');
				times.push({ at, ms: performance.now() - at });
			}),
		);
		await pause(EVERY_MS);
	}
	await Promise.all(open);
};

const quantile = (times, q) => times.map(({ ms }) => ms).sort((a, b) => a - b)[Math.floor(times.length * q)];
const both = (times) => [0.5, 0.99].map((q) => quantile(times, q));
const shown = (times) => both(times).map((ms) => `${ms.toFixed(1)} ms`).join(' / ');

test(`${LOST} runs are overdue and three janitors come for them`, async () => {
	const { db, coordinators } = await stageFor('sweep', ['sweep-a', 'sweep-b', 'sweep-c']);
	const id = await inherit(db, LOST);
	const own = await runs(db, SPEAKERS * MESSAGES);
	const groups = [];
	for (let i = 0; i < SPEAKERS; i++) groups.push(await hold(coordinators[i % 3], own, MESSAGES));
	await enforces(coordinators[0], 'deadline');

	const times = [];
	const until = { over: false };
	const speaking = groups.map((helds) => speak(helds, times, until));
	await pause(BEFORE_MS);
	const begun = performance.now();
	await db.query(`UPDATE runs SET deadline_at = clock_timestamp() WHERE project_id = '${id.project}'`);
	const left = `SELECT count(*) FROM in_flight WHERE project_id = '${id.project}'`;
	const rows = await db.until(left, ([[n]]) => n === '0', LOST * 6);
	const ended = performance.now();
	until.over = true;
	await Promise.all(speaking);
	assert.deepEqual(rows, [['0']]);

	const before = times.filter(({ at }) => at < begun - 500);
	const during = times.filter(({ at, ms }) => at + ms > begun && at < ended);
	const a_second = Math.round((LOST * 1000) / (ended - begun));
	console.log(`${LOST} runs declared lost, ${a_second} a second; run:start before, p50 / p99: ${shown(before)}` +
		` (${before.length}), meanwhile: ${shown(during)} (${during.length})`);
	assert.ok(before.length > 100 && during.length > 10);
	const [[p50, p99], [slow50, slow99]] = [both(before), both(during)];
	// A message that waits for a janitor waits for seconds; what another program does takes less.
	assert.ok(slow50 < 5 * p50 + 100, 'half of the messages are answered nearly as ever');
	assert.ok(slow99 < 5 * p99 + 1000, 'and nearly all not much later');

	assert.deepEqual(await states(db, id.project), { lost: LOST });
	assert.deepEqual(await journal(db, id.project), { 'lost accepted': LOST });
	const orders = await db.query(`SELECT state, count(*) FROM work_orders
		WHERE project_id = '${id.project}' GROUP BY state`);
	assert.deepEqual(orders, [['lost', String(LOST)]]);
	const sum = async (series) => {
		const each = await Promise.all(coordinators.map((one) => one.metric(series)));
		return each.reduce((a, b) => a + b);
	};
	assert.equal(await sum('interlock_lost_runs_total{clock="deadline"}'), LOST);
	assert.equal(await sum('interlock_sweep_runs_sum'), LOST);
	// Janitors that came late for the last ones still end their transactions.
	let all, small;
	do {
		all = await sum('interlock_sweep_runs_count');
		small = await sum(`interlock_sweep_runs_bucket{le="${BATCH}"}`);
	} while (all !== (await sum('interlock_sweep_runs_count')));
	assert.equal(small, all, 'no transaction took more');
	const shares = await Promise.all(coordinators.map((one) => one.metric('interlock_sweep_runs_sum')));
	console.log(`in ${all} transactions; the three janitors took ${shares.join(', ')}`);
});

await play();
