// [transitions] mode: what `enforce` refuses and `observe` lets pass or overlooks; every refusal
// of interlock-protocol(7) that depends on the state of the run.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { journalOf, lose, sumOf } from '../client/db.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, answer, db, given, refused, test } from './stage.mjs';

const enforcing = await Coordinator.start('observe-a');
const observing = await Coordinator.start('observe-b', {
	transitions: { mode: 'observe' },
	lost: { late_completion: 'reject' },
});

const notClaimed = (state) =>
	refused(
		'state',
		`cannot mark run ${state} that has not been claimed by a worker`,
		'not_claimed',
		'available',
	);
const alreadyStarted = refused('state', 'already started', 'already_started', 'started');

// No channel is joined for a run that is available, unless the run was put back by hand.
const putBack = async ({ run, work_order }) => {
	await db.query(`UPDATE work_orders SET state = 'pending' WHERE id = '${work_order}'`);
	await db.query(`WITH r AS (UPDATE runs SET state = 'available', claimed_at = NULL,
		deadline_at = NULL, lease_expires_at = NULL WHERE id = '${run}' RETURNING *), f AS (
		DELETE FROM in_flight f USING r WHERE f.project_id = r.project_id AND f.run_id = r.id)
		INSERT INTO waiting SELECT project_id, workflow_id, queue, priority, seq, id FROM r`);
};

const prepare = {
	available: (held) => putBack(held.id),
	started: (held) => held.say('run:start', stage.runStart()),
	success: (held) => held.say('run:complete', stage.runComplete()),
	lost: (held) => lose(db, held.id, { deadline: '-1s' }),
};

// What enforce answers and what the journal then says of observe; state: the run's under observe.
const attempts = [
	['available', 'run:start', notClaimed('started'), 'not_claimed', 'started'],
	['available', 'run:complete', notClaimed('success'), 'not_claimed', 'crashed'],
	['success', 'run:complete', stage.alreadyFinal('success'), 'already_final', 'crashed'],
	['success', 'run:start', stage.alreadyFinal('success'), 'already_final', 'success'],
	['started', 'run:start', alreadyStarted, 'already_started', 'started'],
];
const message = {
	'run:start': () => stage.runStart({ timestamp: '1795485247440566' }),
	'run:complete': () => stage.runComplete({ reason: 'crash', error_type: 'Second', final_state: {} }),
};

for (const [from, event, refusal, code, state] of attempts) {
	test(`enforce: ${event} of a run that is ${from} is refused`, async () => {
		const held = await Held.join(enforcing, await given());
		await prepare[from](held);
		const sum = await sumOf(db, held.id.project);
		const said = answer(await held.say(event, message[event]()));
		// The sentence names the state that was wanted.
		const wanted = event === 'run:complete' && from === 'available' ? notClaimed('crashed') : refusal;
		assert.deepEqual(said, wanted);
		assert.equal(await sumOf(db, held.id.project), sum);
		const row = (await journalOf(db, held.id.run)).at(-1);
		assert.deepEqual([row.outcome, row.code, row.from_state], ['refused', code, from]);
		assert.equal(JSON.parse(row.message).timestamp !== undefined, true);
	});

	test(`observe: ${event} of a run that is ${from} is ok, and journaled with ${code}`, async () => {
		const held = await Held.join(observing, await given());
		await prepare[from](held);
		const sum = await sumOf(db, held.id.project);
		const before = (await journalOf(db, held.id.run)).at(-1);
		const said = answer(await held.say(event, message[event]()));
		assert.deepEqual(said, { status: 'ok', response: {} });
		const row = (await journalOf(db, held.id.run)).at(-1);
		const applied = state !== from;
		assert.deepEqual(
			[row.outcome, row.code, row.from_state, row.to_state, row.revision - before.revision],
			['observed', code, from, state, Number(applied)],
		);
		if (!applied) assert.equal(await sumOf(db, held.id.project), sum);
		const [found] = await db.query(`SELECT r.state, w.state, claimed_at IS NOT NULL,
			(SELECT count(*) FROM waiting x WHERE x.run_id = r.id),
			(SELECT count(*) FROM in_flight x WHERE x.run_id = r.id)
			FROM runs r JOIN work_orders w ON w.id = r.work_order_id WHERE r.id = '${held.id.run}'`);
		const flies = state === 'started';
		assert.deepEqual(found, [state, flies ? 'running' : state, 't', '0', flies ? '1' : '0']);
		const metric = `interlock_message_outcomes_total{event="${event}",outcome="observed",policy="reject"}`;
		assert.ok((await observing.metric(metric)) > 0);
	});
}

test('observe: a message without a timestamp gets one', async () => {
	const held = await Held.join(observing, await given());
	await putBack(held.id);
	for (const [event, more] of [
		['run:start', {}],
		['run:complete', { reason: 'success' }],
	])
		assert.equal((await held.say(event, more)).status, 'ok');
	const [row] = await db.query(`SELECT num_nulls(started_at, finished_at, finalized_at)
		FROM runs WHERE id = '${held.id.run}'`);
	assert.deepEqual(row, ['0']);
});

test('observe: steps are closed with a run that ends twice', async () => {
	const held = await Held.join(observing, await given());
	const step = randomUUID();
	await held.say('run:start', stage.runStart());
	await held.say('step:start', stage.stepStart(step, held.id.job_a));
	await putBack(held.id);
	assert.equal((await held.say('run:complete', stage.runComplete())).status, 'ok');
	const [[exit]] = await db.query(`SELECT exit_reason FROM steps WHERE id = '${step}'`);
	assert.equal(exit, 'lost');
});

test('observe: a lost run follows the policy', async () => {
	const held = await Held.join(observing, await given());
	await prepare.lost(held);
	for (const event of ['run:start', 'run:complete'])
		assert.deepEqual(answer(await held.say(event, message[event]())), stage.alreadyFinal('lost'));
	assert.equal((await journalOf(db, held.id.run)).at(-1).outcome, 'refused');
});

test('observe: steps, references and epochs are enforced', async () => {
	const held = await Held.join(observing, await given());
	await prepare.started(held);
	assert.deepEqual(
		answer(await held.say('step:start', stage.stepStart(randomUUID(), randomUUID()))),
		refused('job_id', 'does not exist', 'does_not_exist', 'started'),
	);
	assert.deepEqual(
		answer(
			await held.say('run:complete', stage.runComplete({ final_dataclip_id: randomUUID() })),
		),
		refused('final_dataclip_id', 'does not exist', 'does_not_exist', 'started'),
	);
	await prepare.success(held);
	assert.deepEqual(
		answer(await held.say('step:start', stage.stepStart(randomUUID(), held.id.job_a))),
		stage.alreadyFinal('success'),
	);
	await db.query(`UPDATE runs SET claim_epoch = claim_epoch + 1 WHERE id = '${held.id.run}'`);
	for (const event of ['run:start', 'run:complete'])
		assert.deepEqual(answer(await held.say(event, message[event]())), stage.superseded);
});

test('observe: a repetition is one, not an observation', async () => {
	const held = await Held.join(observing, await given());
	for (const [event, repeated] of [
		['run:start', stage.runStart()],
		['run:complete', stage.runComplete()],
	]) {
		await held.say(event, repeated);
		assert.equal((await held.say(event, repeated)).status, 'ok');
		assert.equal((await journalOf(db, held.id.run)).at(-1).outcome, 'replayed');
	}
});

test('the mode changes by reload, and no socket with it', async () => {
	const held = await Held.join(observing, await given());
	await prepare.success(held);
	await observing.reload({ transitions: { mode: 'enforce' } });
	assert.ok(held.worker.isOpen);
	assert.deepEqual(
		answer(await held.say('run:complete', message['run:complete']())),
		stage.alreadyFinal('success'),
	);
	await observing.reload({ transitions: { mode: 'observe' } });
	assert.equal((await held.say('run:complete', message['run:complete']())).status, 'ok');
});

for (const [what, payload, sentence] of [
	['a missing reason', {}, "can't be blank"],
	['a reason that is none', { reason: 'done' }, 'is invalid'],
	['lost as a reason', { reason: 'lost' }, 'is invalid'],
	['a number as a reason', { reason: 7 }, 'is invalid'],
])
	test(`${what} is refused in both modes`, async () => {
		for (const coordinator of [enforcing, observing]) {
			const held = await Held.join(coordinator, await given());
			const sum = await sumOf(db, held.id.project);
			assert.deepEqual(
				answer(await held.say('run:complete', payload)),
				refused('state', sentence, 'invalid', 'claimed'),
			);
			const { event, outcome, code, revision } = (await journalOf(db, held.id.run)).at(-1);
			assert.deepEqual([event, outcome, code, revision], ['run:complete', 'refused', 'invalid', 1]);
			assert.equal(await sumOf(db, held.id.project), sum);
		}
	});

await stage.play();
