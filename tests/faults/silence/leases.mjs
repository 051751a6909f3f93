// What extends a lease, what a deadline is counted from, what the janitor takes and what it leaves,
// and what follows from a loss.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { fixture, journalOf } from '../../client/db.mjs';
import { timestamp } from '../../client/lib.mjs';
import { Held, runComplete, runStart, stepComplete, stepStart, test } from '../../wire/stage.mjs';
import { runs } from '../load.mjs';
import { INTERVAL, LEASE, alter, hold, enforces, lost, runOnce, stageFor } from './lib.mjs';

const { db, coordinators: [a, beats] } = await stageFor('lease', ['lease-a', 'lease-beats']);

const leaseOf = async ({ id }) => {
	const [[at]] = await db.query(`SELECT lease_expires_at FROM runs WHERE id = '${id.run}'`);
	return at;
};

test('a lease is extended by heartbeats and messages, once a quarter of it, in batches', async () => {
	const RUNS = 50;
	const helds = await hold(beats, await runs(db, RUNS), RUNS, { beats: false });
	const [{ worker }] = helds;
	const talker = await Held.join(beats, await fixture(db));
	const line = () => talker.say('run:log', { message: ['x'], level: 'info', timestamp: timestamp() });
	const beatOnce = () => worker.ask('phoenix', 'heartbeat');
	const renewed = () => beats.metric('interlock_lease_renewals_total');
	const batches = async () =>
		(await beats.metric('interlock_batches_total{lane="write0",result="committed"}')) +
		(await beats.metric('interlock_batches_total{lane="write1",result="committed"}'));

	// A join has just extended them.
	const joined = await Promise.all([leaseOf(helds[0]), leaseOf(talker)]);
	await beatOnce();
	await line();
	assert.equal(await renewed(), 0);
	await pause(LEASE * 250 + 100);

	const before = await batches();
	await beatOnce();
	const ours = `id IN (${helds.map(({ id }) => `'${id.run}'`)})`;
	const left = await db.until(`SELECT count(*) FROM runs WHERE ${ours}
		AND lease_expires_at < now() + interval '${LEASE - 5} s'`, ([[n]]) => n === '0');
	assert.deepEqual(left, [['0']]);
	const some = (await batches()) - before;
	console.log(`${RUNS} leases extended by a heartbeat in ${some} transactions`);
	assert.ok(some <= 4, 'one for each writer, or what was under way');
	assert.equal(await renewed(), RUNS);
	assert.equal(await leaseOf(talker), joined[1]);
	await line();
	await db.until(`SELECT lease_expires_at FROM runs WHERE id = '${talker.id.run}'`, ([[at]]) => at > joined[1]);
	assert.equal(await renewed(), RUNS + 1);
	await beatOnce();
	await line();
	assert.equal((await talker.say('run:start', runStart())).status, 'ok');
	assert.equal(await renewed(), RUNS + 1);
});

test('a deadline is set again at the start', async () => {
	const held = await Held.join(a, await fixture(db));
	const ago = "interval '200 s'";
	await alter(db, `claimed_at = claimed_at - ${ago}, deadline_at = deadline_at - ${ago}`, `id = '${held.id.run}'`);
	const ahead = async () => {
		const [[s]] = await db.query(`SELECT extract(epoch FROM deadline_at - clock_timestamp()) FROM runs
			WHERE id = '${held.id.run}'`);
		return Number(s);
	};
	assert.ok((await ahead()) < 110.5);
	assert.equal((await held.say('run:start', runStart())).status, 'ok');
	const s = await ahead();
	assert.ok(s > 300 && s <= 310, `${s} s`);
	assert.equal((await held.say('run:complete', runComplete())).status, 'ok');
});

test('only what is overdue is taken, when it is; steps and work orders follow', async () => {
	const [now, soon, retried] = [await fixture(db), await fixture(db), await fixture(db)];
	const helds = [];
	for (const id of [now, soon, retried]) helds.push(await Held.join(a, id, `worker of ${id.queue}`));
	const [closed, open] = [randomUUID(), randomUUID()];
	for (const [event, payload] of [
		['run:start', runStart()],
		['step:start', stepStart(closed, now.job_a)],
		['step:complete', stepComplete(closed, now.job_a)],
		['step:start', stepStart(open, now.job_b)],
	])
		assert.equal((await helds[0].say(event, payload)).status, 'ok', event);
	await db.query(`SELECT interlock_retry('${retried.run}')`);
	await enforces(a, 'deadline');
	await alter(db, 'deadline_at = clock_timestamp()', `id IN ('${now.run}', '${retried.run}')`);
	await alter(db, "deadline_at = clock_timestamp() + interval '6 s'", `id = '${soon.run}'`);

	const row = await runOnce(db, now.run, lost);
	assert.deepEqual([row.error_type, row.work_order_state], ['LostAfterStart', 'lost']);
	assert.ok(row.beyond < INTERVAL + 2, `${row.beyond} s after its deadline`);
	const steps = await db.query(`SELECT exit_reason, (finished_at = '${row.finalized_at}')
		FROM steps WHERE id IN ('${closed}', '${open}') ORDER BY exit_reason`);
	assert.deepEqual(steps, [['lost', 't'], ['success', 'f']]);
	const last = (await journalOf(db, now.run)).at(-1);
	const [[overdue]] = await db.query(`SELECT extract(epoch FROM lateness) FROM transitions WHERE id = ${last.id}`);
	assert.deepEqual(
		[last.event, last.outcome, last.from_state, last.to_state, last.worker, last.epoch, last.code],
		['lost', 'accepted', 'started', 'lost', `worker of ${now.queue}`, 1, 'deadline'],
	);
	assert.ok(overdue > 0 && overdue < INTERVAL + 2);
	assert.equal(last.coordinator === 'lease-a' || last.coordinator === 'lease-beats', true);

	const again = await runOnce(db, retried.run, lost);
	assert.deepEqual([again.error_type, again.work_order_state], ['LostAfterClaim', 'pending']);
	const later = await runOnce(db, soon.run, lost);
	assert.ok(later.beyond >= 0 && later.beyond < INTERVAL + 2, `${later.beyond} s after its deadline`);
});

// The janitor looks for these once a minute.
test('the input of a lost run is wiped when the window is over, not before', async () => {
	const options = { save_dataclips: false };
	const [over, inside] = [await fixture(db, options), await fixture(db, options)];
	for (const id of [over, inside]) await Held.join(a, id);
	await enforces(a, 'deadline');
	await alter(db, 'deadline_at = clock_timestamp()', `id IN ('${over.run}', '${inside.run}')`);
	for (const id of [over, inside]) await runOnce(db, id.run, lost);
	const input = ({ dataclip }) => `SELECT body IS NULL, wiped_at IS NULL FROM dataclips WHERE id = '${dataclip}'`;
	for (const id of [over, inside]) assert.deepEqual(await db.query(input(id)), [['f', 't']]);
	await alter(db, "finalized_at = finalized_at - interval '2 h'", `id = '${over.run}'`);
	const rows = await db.until(input(over), ([[gone]]) => gone === 't', 70_000);
	assert.deepEqual(rows, [['t', 'f']]);
	assert.deepEqual(await db.query(input(inside)), [['f', 't']]);
	const kept = await db.query(`SELECT run_id FROM wipes WHERE run_id IN ('${over.run}', '${inside.run}')`);
	assert.deepEqual(kept, [[inside.run]]);
});

test('an open step of a run that is final is closed', async () => {
	const step = async (held) => {
		const id = randomUUID();
		assert.equal((await held.say('step:start', stepStart(id, held.id.job_a))).status, 'ok');
		return id;
	};
	const [final, fresh, running] = [
		await Held.join(a, await fixture(db)),
		await Held.join(a, await fixture(db)),
		await Held.join(a, await fixture(db)),
	];
	const [of, ofFresh, ofRunning] = [await step(final), await step(fresh), await step(running)];
	for (const held of [final, fresh]) assert.equal((await held.say('run:complete', runComplete())).status, 'ok');
	await alter(db, "finalized_at = now() + interval '1 h'", `id = '${fresh.id.run}'`);
	await db.query(`UPDATE steps SET exit_reason = NULL, finished_at = NULL WHERE id IN ('${of}', '${ofFresh}')`);
	const exit = (id) => `SELECT exit_reason, finished_at IS NULL FROM steps WHERE id = '${id}'`;
	assert.deepEqual(await db.until(exit(of), ([[reason]]) => reason === 'lost', 90_000), [['lost', 'f']]);
	for (const id of [ofFresh, ofRunning]) assert.deepEqual(await db.query(exit(id)), [['null', 't']]);
});
