// Claims that are given back: never joined, or (after_claim = requeue) never started. And what is never
// given back, with leases that are off.

import assert from 'node:assert/strict';
import { fixture, journalOf } from '../../client/db.mjs';
import { Held, answer, runComplete, runStart, superseded, test } from '../../wire/stage.mjs';
import { INTERVAL, alter, enforces, lost, runOnce, stageFor } from './lib.mjs';

const { db, coordinators: [a, b] } = await stageFor('back', ['back-a', 'back-b'], {
	lost: { lease: '0', after_claim: 'requeue', max_requeues: 2 },
	claims: { join_timeout: '5s' },
});

const givenBack = (epoch) => ({ state, claim_epoch }) => state === 'available' && claim_epoch === epoch;
const overdue = (run) => alter(db, 'deadline_at = clock_timestamp()', `id = '${run}'`);

// The journal in short: what was decided, and the clock by which.
const history = async (run) =>
	(await journalOf(db, run)).filter(({ outcome }) => outcome !== 'noted').map(({ event, outcome, code }) =>
		[event, outcome, code].filter(Boolean).join(' '),
	);

test('a claim that is never joined is given back by the other coordinator; its worker comes too late', async () => {
	const id = await fixture(db);
	const early = await Held.claim(a, id, 'early');
	await a.kill();
	const back = await runOnce(db, id.run, givenBack(2), 60_000);
	assert.deepEqual(
		[back.claimed_at, back.worker_name, back.deadline_at, back.requeues, back.work_order_state],
		[null, null, null, 0, 'pending'],
	);
	assert.deepEqual(await history(id.run), ['claim accepted', 'release released join']);
	const [, { worker, epoch, lateness }] = await journalOf(db, id.run);
	assert.deepEqual([worker, epoch], ['early', 1]);
	assert.match(lateness, /^00:00:[0-5]/);

	const next = await Held.join(b, id, 'next');
	early.worker = await b.worker();
	const late = await early.join();
	assert.deepEqual([late.status, late.response.reason], ['error', 'superseded']);
	assert.equal((await next.say('run:complete', runComplete())).status, 'ok');
	assert.equal((await runOnce(db, id.run, ({ state }) => state === 'success')).claim_epoch, 3);
});

test('a run that has not started is requeued twice, then lost; the worker that had it is stale', async () => {
	const id = await fixture(db);
	const helds = [];
	for (const [name, epoch, after] of [['first', 2, 1], ['second', 4, 2]]) {
		helds.push(await Held.join(b, id, name));
		await overdue(id.run);
		const row = await runOnce(db, id.run, givenBack(epoch), 60_000);
		assert.deepEqual([row.requeues, row.joined_at, row.work_order_state], [after, null, 'pending']);
	}
	const last = await Held.join(b, id, 'last');

	const [first] = helds;
	assert.equal((await first.rejoin(b)).status, 'ok', 'a refused re-join would make it hang');
	assert.deepEqual((await first.say('fetch:plan')).response.jobs, []);
	assert.deepEqual(answer(await first.say('run:start', runStart())), superseded);
	assert.deepEqual(answer(await first.say('run:complete', runComplete())), superseded);

	await overdue(id.run);
	const row = await runOnce(db, id.run, lost);
	assert.deepEqual(
		[row.error_type, row.lost_from, row.requeues, row.work_order_state, row.claim_epoch],
		['LostAfterClaim', 'claimed', 2, 'lost', 5],
	);
	assert.deepEqual(
		(await history(id.run)).filter((each) => !each.includes('refused')),
		[
			...Array(2).fill(['claim accepted', 'requeue requeued deadline']).flat(),
			'claim accepted',
			'lost accepted deadline',
		],
	);
	assert.equal((await last.say('run:complete', runComplete())).status, 'ok', 'its own worker is accepted');
	const left = await db.query(`SELECT (SELECT count(*) FROM waiting WHERE run_id = '${id.run}'),
		(SELECT count(*) FROM in_flight WHERE run_id = '${id.run}')`);
	assert.deepEqual(left, [['0', '0']]);
});

test('a run that has started is never requeued', async () => {
	const held = await Held.join(b, await fixture(db), 'starter');
	assert.equal((await held.say('run:start', runStart())).status, 'ok');
	await overdue(held.id.run);
	const row = await runOnce(db, held.id.run, lost, 60_000);
	assert.deepEqual([row.error_type, row.requeues, row.claim_epoch], ['LostAfterStart', 0, 1]);
	assert.deepEqual(await history(held.id.run), ['claim accepted', 'run:start accepted', 'lost accepted deadline']);
});

test('lease = 0: no run is lost by a lease', async () => {
	const held = await Held.join(b, await fixture(db), 'silent');
	const canary = await Held.join(b, await fixture(db), 'canary');
	const [[lease]] = await db.query(`SELECT lease_expires_at FROM runs WHERE id = '${held.id.run}'`);
	assert.equal(lease, 'null');
	await enforces(b, 'deadline');
	assert.equal(await b.metric('interlock_janitor_active{clock="lease"}'), 0);
	// As another coordinator may have left it, on a run that has started, for the sweep that takes another one.
	for (const each of [held, canary]) assert.equal((await each.say('run:start', runStart())).status, 'ok');
	await alter(db, `lease_expires_at = now() - interval '1 hour'`, `id = '${held.id.run}'`);
	await overdue(canary.id.run);
	await runOnce(db, canary.id.run, lost, INTERVAL * 10_000);
	assert.equal((await runOnce(db, held.id.run, ({ state }) => state === 'started')).revision, 2);
});
