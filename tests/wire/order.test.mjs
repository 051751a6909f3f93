// Janitor and worker, put in order by hand: a second database connection plays the janitor, or another
// coordinator, and a third blocks the one that shall come second. Whatever the order, the outcome is one
// of those that the policy allows, and the work order follows.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import {
	Database,
	blocked,
	journalOf,
	lockOrder,
	settleOrder,
	sweepLock,
	sumOf,
	takeRun,
} from '../client/db.mjs';
import { checkCounts } from '../faults/counted.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, answer, databaseUrl, db, given, test } from './stage.mjs';

const a = await Coordinator.start('order-a');
const b = await Coordinator.start('order-b');
const janitor = new Database(databaseUrl);
const holder = new Database(databaseUrl);

const transaction = async (connection, ...statements) => {
	let rows;
	for (const statement of ['BEGIN', ...statements]) rows = await connection.query(statement);
	return rows;
};
const commit = (connection) => connection.query('COMMIT');
const states = async ({ run, work_order }) => {
	const [row] = await db.query(`SELECT r.state, w.state, (SELECT count(*) FROM steps s JOIN run_steps rs
		ON rs.step_id = s.id WHERE rs.run_id = r.id AND s.exit_reason IS NULL),
		(SELECT count(*) FROM in_flight f WHERE f.run_id = r.id)
		FROM runs r JOIN work_orders w ON w.id = '${work_order}' WHERE r.id = '${run}'`);
	return row;
};
const outcomes = async (id) =>
	(await journalOf(db, id.run)).map((row) => `${row.event} ${row.outcome}`).slice(-2);

// A started run with an open step.
const begun = async (coordinator = a) => {
	const id = await given();
	const held = await Held.join(coordinator, id);
	await held.say('run:start', stage.runStart());
	await held.say('step:start', stage.stepStart(randomUUID(), id.job_a));
	return held;
};

// -- Janitor and worker, in both orders -------------------------------------------------------------

const tooLate = ({ status, response }) =>
	assert.deepEqual([status, response.outcome, response.state], ['ok', 'too_late', 'lost']);
const noMore = (reply) => assert.deepEqual(answer(reply), stage.alreadyFinal('lost'));
const fine = (reply) => assert.deepEqual(answer(reply), { status: 'ok', response: {} });

// When the janitor comes first: the reply, run and work order afterwards, how the journal ends.
const first = {
	yield: [fine, 'success', 'lost accepted', 'run:complete yielded'],
	acknowledge: [tooLate, 'lost', 'lost accepted', 'run:complete too_late'],
	reject: [noMore, 'lost', 'lost accepted', 'run:complete refused'],
};

for (const [policy, [check, state, ...journal]] of Object.entries(first)) {
	test(`${policy}: the janitor is first, run:complete waits for it`, async () => {
		await a.reload({ lost: { late_completion: policy } });
		const held = await begun();
		await transaction(janitor, lockOrder(held.id.work_order), takeRun(held.id.run));
		const reply = held.say('run:complete', stage.runComplete());
		await blocked(db, janitor);
		await janitor.query(settleOrder(held.id.work_order));
		await commit(janitor);
		check(await reply);
		assert.deepEqual(await states(held.id), [state, state, '0', '0']);
		assert.deepEqual(await outcomes(held.id), journal);
	});

	test(`${policy}: run:complete is first, the janitor waits for it and takes nothing`, async () => {
		await a.reload({ lost: { late_completion: policy } });
		const held = await begun();
		const { run, work_order } = held.id;
		// The run's row is held, so that the coordinator stops with the lock of the work order.
		await transaction(holder, `SELECT id FROM runs WHERE id = '${run}' FOR UPDATE`);
		const reply = held.say('run:complete', stage.runComplete());
		await blocked(db, holder);
		const skipping = await transaction(janitor, sweepLock(work_order));
		assert.deepEqual(skipping, [], 'a janitor that does not wait passes it over');
		const locked = janitor.query(lockOrder(work_order));
		await commit(holder);
		fine(await reply);
		await locked;
		assert.deepEqual(await janitor.query(takeRun(run)), []);
		await janitor.query(settleOrder(work_order));
		await commit(janitor);
		assert.deepEqual(await states(held.id), ['success', 'success', '0', '0']);
		assert.deepEqual(await outcomes(held.id), ['step:start accepted', 'run:complete accepted']);
	});

	test(`${policy}: between lock and loss nothing of the worker's gets in`, async () => {
		await a.reload({ lost: { late_completion: policy } });
		const held = await begun();
		await transaction(janitor, lockOrder(held.id.work_order));
		const sum = await sumOf(janitor, held.id.project);
		const reply = held.say('step:start', stage.stepStart(randomUUID(), held.id.job_b));
		await blocked(db, janitor);
		assert.equal(await sumOf(janitor, held.id.project), sum);
		await janitor.query(takeRun(held.id.run));
		await janitor.query(settleOrder(held.id.work_order));
		await commit(janitor);
		const { status } = await reply;
		assert.equal(status, policy === 'reject' ? 'error' : 'ok');
		assert.deepEqual(await states(held.id), ['lost', 'lost', '0', '0'], 'no step is open');
	});
}

test('a late message is counted although its worker is gone before the reply', async () => {
	const gone = await Coordinator.start('order-gone', { lost: { late_completion: 'yield' } });
	const series = [
		'interlock_message_outcomes_total{event="run:complete",outcome="yielded",policy="yield"}',
		'interlock_message_outcomes_total{event="run:complete",outcome="invalid",policy="yield"}',
		'interlock_late_completions_total{policy="yield"}',
		'interlock_late_message_delay_seconds_count',
		'interlock_finished_runs_total{state="success"}',
	];
	const [held, other] = [await begun(gone), await begun(gone)];
	await transaction(janitor, lockOrder(held.id.work_order), takeRun(held.id.run), lockOrder(other.id.work_order));
	const words = [
		held.say('run:complete', stage.runComplete()),
		other.say('run:complete', stage.runComplete({ reason: 'nonsense' })),
	];
	await blocked(db, janitor);
	for (const word of words) word.catch(() => {});
	for (const { worker } of [held, other]) await worker.cut();
	await gone.untilMetric('interlock_sockets', (n) => n === 0);
	await janitor.query(settleOrder(held.id.work_order));
	await commit(janitor);
	assert.equal(await gone.untilMetric(series[0], (n) => n === 1), 1);
	assert.equal(await gone.untilMetric(series[1], (n) => n === 1), 1);
	for (const each of series) assert.equal(await gone.metric(each), 1, each);
	await checkCounts(db, gone);
	await gone.stop();
});

// -- Two runs of one work order ---------------------------------------------------------------------

// Two runs of one work order, each at a coordinator of its own; the second is the newest.
const twins = async (options, other = b, one = a) => {
	const id = await given(options);
	const older = await Held.join(one, id);
	const [[, run]] = await db.query(`SELECT * FROM interlock_retry('${id.run}')`);
	const newer = await Held.join(other, { ...id, run });
	for (const held of [older, newer]) await held.say('run:start', stage.runStart());
	return { older, newer };
};
// So many wait for a lock.
const waiters = (n) =>
	db.until('SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted', ([[is]]) => Number(is) === n);
const order = async ({ id }) =>
	(await db.query(`SELECT state FROM work_orders WHERE id = '${id.work_order}'`))[0][0];

for (const [name, pick] of [
	['the older run is first', ({ older, newer }) => [older, newer]],
	['the newer run is first', ({ older, newer }) => [newer, older]],
])
	test(`two runs of a work order end at once, on two coordinators: ${name}`, async () => {
		const both = await twins();
		const [leader, follower] = pick(both);
		await transaction(holder, `SELECT id FROM runs WHERE id = '${leader.id.run}' FOR UPDATE`);
		const ends = { older: 'fail', newer: 'success' };
		const reason = (held) => ends[held === both.older ? 'older' : 'newer'];
		const one = leader.say('run:complete', stage.runComplete({ reason: reason(leader) }));
		await blocked(db, holder);
		const two = follower.say('run:complete', stage.runComplete({ reason: reason(follower) }));
		// The second waits for the first's lock of the work order.
		await db.until(
			`SELECT count(*) FROM pg_locks l WHERE NOT granted AND EXISTS (SELECT FROM pg_locks o
				WHERE NOT o.granted AND o.pid = ANY (pg_blocking_pids(l.pid)))`,
			([[n]]) => n === '1',
		);
		assert.equal(await order(leader), 'running');
		await commit(holder);
		fine(await one);
		fine(await two);
		assert.equal(await order(leader), 'success', "the newest run's state, whichever came last");
	});

// -- The input of runs that do not save dataclips ----------------------------------------------------

const unsaved = { save_dataclips: false };
const inputIsWiped = async ({ id }) =>
	(await db.query(`SELECT body IS NULL, wiped_at IS NOT NULL FROM dataclips WHERE id = '${id.dataclip}'`))[0].join();
const single = await Coordinator.start('order-single', { database: { writers: 1 } });

test('two runs of a work order end in one batch: their input is wiped', async () => {
	const both = Object.values(await twins(unsaved, single, single));
	const blocker = await Held.join(single, await given());
	// One message is being stored while the two for the next batch are queued.
	await transaction(holder, lockOrder(blocker.id.work_order));
	const busy = blocker.say('run:start', stage.runStart());
	await blocked(db, holder);
	const replies = both.map((held) => held.say('run:complete', stage.runComplete()));
	await single.untilMetric('interlock_queued_messages{lane="write0"}', (n) => n === 2);
	await commit(holder);
	for (const reply of [busy, ...replies]) fine(await reply);
	assert.equal(await inputIsWiped(both[0]), 't,t');
	// Of one transaction.
	const xids = both.map(({ id }) => `'${id.run}'`);
	assert.deepEqual(await db.query(`SELECT count(DISTINCT xid), count(*) FROM transitions
		WHERE run_id IN (${xids}) AND event = 'run:complete'`), [['1', '2']]);
});

for (const [name, pick] of [
	['the older run is first', ({ older, newer }) => [older, newer]],
	['the newer run is first', ({ older, newer }) => [newer, older]],
])
	test(`two runs of a work order end on two coordinators, and their input is wiped: ${name}`, async () => {
		const [leader, follower] = pick(await twins(unsaved));
		await transaction(holder, `SELECT id FROM runs WHERE id = '${leader.id.run}' FOR UPDATE`);
		const one = leader.say('run:complete', stage.runComplete());
		await blocked(db, holder);
		const two = follower.say('run:complete', stage.runComplete());
		await waiters(2);
		assert.equal(await inputIsWiped(leader), 'f,f');
		await commit(holder);
		fine(await one);
		fine(await two);
		assert.equal(await inputIsWiped(leader), 't,t');
	});

test('the input stays while another run of the work order may be revived', async () => {
	await a.reload({ lost: { late_completion: 'yield' } });
	const { older, newer } = await twins(unsaved);
	await transaction(janitor, lockOrder(older.id.work_order), takeRun(older.id.run));
	await janitor.query(settleOrder(older.id.work_order));
	await commit(janitor);
	fine(await newer.say('run:complete', stage.runComplete()));
	assert.equal(await inputIsWiped(older), 'f,f');
	fine(await older.say('run:complete', stage.runComplete()));
	assert.equal(await inputIsWiped(older), 't,t');
});

test('the sweep finds inputs that were left over, and no others', async () => {
	// As an earlier version left them; and one that a run which waits still wants.
	const left = await given(unsaved), wanted = await given(unsaved), lost = await given(unsaved);
	const end = (id, more) => db.query(`UPDATE runs SET finished_at = now(), claimed_at = now(),
		finalized_at = now() - interval '1 day', ${more} WHERE id = '${id.run}';
		DELETE FROM waiting WHERE run_id = '${id.run}'`);
	await db.query(`SELECT interlock_retry('${wanted.run}')`);
	for (const id of [left, wanted]) await end(id, "state = 'success'");
	await end(lost, "state = 'lost', lost_from = 'claimed'");
	await db.query(`INSERT INTO wipes VALUES ('${lost.project}', '${lost.run}')`);
	const early = await given(unsaved);
	await db.query(`INSERT INTO wipes VALUES ('${early.project}', '${early.run}')`);
	await end(early, "state = 'lost', lost_from = 'claimed'");
	await db.query(`UPDATE runs SET finalized_at = now() WHERE id = '${early.run}'`);

	const sweeper = await Coordinator.start('order-sweeper', { janitor: { interval: '10ms' } });
	const wiped = `SELECT count(*) FROM dataclips WHERE wiped_at IS NOT NULL AND id IN ('${left.dataclip}', '${lost.dataclip}')`;
	assert.deepEqual(await db.until(wiped, ([[n]]) => n === '2'), [['2']]);
	for (const id of [wanted, early]) assert.equal(await inputIsWiped({ id }), 'f,f');
	assert.deepEqual(await db.query(`SELECT run_id FROM wipes WHERE run_id IN ('${lost.run}', '${early.run}')`), [[early.run]]);
	await sweeper.stop();
});

// -- Runs tried again in one transaction, beside a batch of the same work orders ----------------------

// Two started runs of a project; the first one's work order is locked first.
const pair = async (coordinator) => {
	const ids = [await given(), await given()];
	const [[first]] = await db.query(`SELECT id FROM work_orders WHERE id IN (${ids.map((id) => `'${id.work_order}'`)})
		ORDER BY project_id, id LIMIT 1`);
	if (ids[0].work_order !== first) ids.reverse();
	const helds = [];
	for (const id of ids) {
		const held = await Held.join(coordinator, id);
		await held.say('run:start', stage.runStart());
		helds.push(held);
	}
	return helds;
};

for (const [name, retryFirst] of [
	['the application is first', true],
	['the batch is first', false],
])
	test(`runs tried again in the opposite order, beside a batch of them: ${name}`, async () => {
		const helds = await pair(single);
		const blocker = await Held.join(single, await given());
		const runs = helds.map(({ id }) => `'${id.run}'`);
		// One message is being stored while the two for the next batch are queued.
		await transaction(holder, lockOrder(blocker.id.work_order));
		const busy = blocker.say('run:start', stage.runStart());
		await blocked(db, holder);
		const replies = helds.map((held) => held.say('run:complete', stage.runComplete()));
		await single.untilMetric('interlock_queued_messages{lane="write0"}', (n) => n === 2);
		// Whoever is first has the first work order and waits for the second, which is held.
		await transaction(janitor, lockOrder(helds[1].id.work_order));
		const retry = () => {
			const app = new Database(databaseUrl);
			return app.query(`SELECT * FROM interlock_retry_all(ARRAY[${runs.toReversed()}]::uuid[])`).finally(() => app.close());
		};
		let made;
		if (retryFirst) {
			made = retry();
			await blocked(db, janitor);
			await commit(holder);
			await busy;
			await waiters(2);
		} else {
			await commit(holder);
			await busy;
			await blocked(db, janitor);
			made = retry();
			await waiters(2);
		}
		await commit(janitor);
		for (const reply of replies) fine(await reply);
		const rows = await made;
		assert.deepEqual(
			rows.map(([order]) => order),
			helds.toReversed().map(({ id }) => id.work_order),
			'a row for each, in their order',
		);
		for (const held of helds) assert.equal(await order(held), 'pending');
		assert.equal(await single.metric('interlock_batches_total{lane="write0",result="failed"}'), 0, 'no deadlock');
	});

test('one of the two is lost and the other ends: the work order has the newest', async () => {
	const { older, newer } = await twins();
	await transaction(janitor, lockOrder(newer.id.work_order), takeRun(newer.id.run));
	const reply = older.say('run:complete', stage.runComplete());
	await blocked(db, janitor);
	await janitor.query(settleOrder(newer.id.work_order));
	await commit(janitor);
	fine(await reply);
	assert.equal(await order(older), 'lost');
	fine(await newer.say('run:complete', stage.runComplete({ reason: 'kill' })));
	assert.equal(await order(older), 'killed', 'a late message of the newest run is applied');
});

test('a late message about an older run does not overwrite the newest', async () => {
	const { older, newer } = await twins();
	fine(await newer.say('run:complete', stage.runComplete()));
	assert.equal(await order(older), 'running');
	await transaction(janitor, lockOrder(older.id.work_order), takeRun(older.id.run));
	await janitor.query(settleOrder(older.id.work_order));
	await commit(janitor);
	assert.equal(await order(older), 'success');
	await a.reload({});
	fine(await older.say('run:complete', stage.runComplete({ reason: 'crash' })));
	assert.equal(await order(older), 'success');
});

// -- The three that Lightning's pull request had to skip -----------------------------------------------

test('start of a completed run is refused, and its row untouched', async () => {
	const held = await begun();
	await held.say('run:complete', stage.runComplete());
	const sum = await sumOf(db, held.id.project);
	assert.deepEqual(answer(await held.say('run:start', stage.runStart())), stage.alreadyFinal('success'));
	assert.equal(await sumOf(db, held.id.project), sum);
	assert.deepEqual((await outcomes(held.id))[1], 'run:start refused');
});

test('start of a started run is refused, and its row untouched', async () => {
	const held = await begun();
	const sum = await sumOf(db, held.id.project);
	assert.deepEqual(
		answer(await held.say('run:start', stage.runStart({ timestamp: '1795485247440566' }))),
		stage.refused('state', 'already started', 'already_started', 'started'),
	);
	assert.equal(await sumOf(db, held.id.project), sum);
});

for (const [policy, check, state, outcome] of [
	['reject', noMore, 'claimed', 'refused'],
	['acknowledge', tooLate, 'claimed', 'too_late'],
	['yield', fine, 'started', 'yielded'],
])
	test(`start of a lost run, under ${policy}`, async () => {
		await a.reload({ lost: { late_completion: policy } });
		const id = await given();
		const held = await Held.join(a, id);
		await transaction(janitor, lockOrder(id.work_order), takeRun(id.run), settleOrder(id.work_order));
		await commit(janitor);
		const sum = await sumOf(db, id.project);
		check(await held.say('run:start', stage.runStart()));
		const [[lost_from]] = await db.query(`SELECT lost_from FROM runs WHERE id = '${id.run}'`);
		assert.equal(lost_from, state);
		if (policy !== 'yield') assert.equal(await sumOf(db, id.project), sum);
		assert.deepEqual((await outcomes(id))[1], `run:start ${outcome}`);
	});

await stage.play();
