// Fencing and replays. A worker whose claim is over changes nothing; a message sent twice counts once,
// and the same key with other content is a conflict.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { journalOf, lose, sumOf } from '../client/db.mjs';
import { timestamp } from '../client/lib.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, answer, db, given, refused, test } from './stage.mjs';
import { forge } from './token.mjs';

const a = await Coordinator.start('fence-a');
const b = await Coordinator.start('fence-b');

const ok = { status: 'ok', response: {} };
const okStep = (step_id) => ({ status: 'ok', response: { step_id } });
const conflict = (state) => refused('step_id', 'has already been taken', 'conflict', state);
const last = async ({ run }) => {
	const { event, outcome, code } = (await journalOf(db, run)).at(-1);
	return [event, outcome, code].filter(Boolean).join(' ');
};

// -- Fencing ----------------------------------------------------------------------------------------

// The first worker's run is given back and claimed by a second one, at the other coordinator.
const overtaken = async () => {
	const id = await given();
	const old = await Held.join(a, id);
	await db.query(`WITH r AS (UPDATE runs SET state = 'available', claimed_at = NULL, joined_at = NULL,
		worker_name = NULL, claim_epoch = claim_epoch + 1, claim_id = NULL, revision = revision + 1
		WHERE id = '${id.run}' RETURNING *), f AS (
		DELETE FROM in_flight f USING r WHERE f.project_id = r.project_id AND f.run_id = r.id)
		INSERT INTO waiting SELECT project_id, workflow_id, queue, priority, seq, id FROM r`);
	const present = await Held.join(b, id, 'w2');
	const step = randomUUID();
	await present.say('run:start', stage.runStart());
	await present.say('step:start', stage.stepStart(step, id.job_a));
	return { id, old, present, step };
};

const events = (id, step) => [
	['run:start', stage.runStart()],
	['step:start', stage.stepStart(randomUUID(), id.job_b)],
	['step:start', stage.stepStart(step, id.job_a)],
	['step:complete', stage.stepComplete(step, id.job_a)],
	[
		'step:complete',
		stage.stepComplete(randomUUID(), id.job_b, {
			output_dataclip_id: randomUUID(),
			output_dataclip: JSON.stringify('x'.repeat(100_000)),
		}),
	],
	['run:complete', stage.runComplete({ final_state: { n: 1 } })],
	['run:complete', stage.runComplete({ final_state: { n: 'x'.repeat(100_000) } })],
];

// The epoch is the present claim's, the claim is another one: the tokens of two histories.
const ofAnotherHistory = async (token) => {
	const id = await given();
	const present = await Held.join(b, id, 'w2');
	const step = randomUUID();
	await present.say('run:start', stage.runStart());
	await present.say('step:start', stage.stepStart(step, id.job_a));
	const old = Object.assign(new Held(), { id, topic: present.topic, token: forge(token, present.token) });
	old.worker = await a.worker();
	assert.deepEqual(answer(await old.join()), ok);
	return { id, old, present, step };
};
const foreign = { claims: { claim: randomUUID() } };

for (const [channel, scene] of [
	['kept open', overtaken],
	['joined again', overtaken],
	['at the other coordinator', overtaken],
	['of the same epoch', () => ofAnotherHistory(foreign)],
	['of the same epoch, joined again', () => ofAnotherHistory(foreign)],
	['of the same claim and another epoch', () => ofAnotherHistory({ claims: { epoch: 2 } })],
])
	test(`a worker whose claim is over changes nothing, on a channel ${channel}`, async () => {
		const { id, old, step } = await scene();
		const lease = () => db.query(`SELECT lease_expires_at FROM runs WHERE id = '${id.run}'`);
		const [sum, leased] = [await sumOf(db, id.project), await lease()];
		if (/again|other/.test(channel))
			assert.deepEqual(answer(await old.rejoin(channel.includes('again') ? a : b)), ok);
		for (const [event, message] of events(id, step)) {
			const before = (await journalOf(db, id.run)).length;
			assert.deepEqual(answer(await old.say(event, message)), stage.superseded, event);
			assert.equal((await journalOf(db, id.run)).length, before + 1);
			assert.equal(await last(id), `${event} refused superseded`);
		}
		const warnings = { state: ['claimed by another worker'] };
		const line = { message: ['late'], level: 'info', timestamp: timestamp(), step_id: step };
		const { status, response } = await old.say('run:log', line);
		assert.deepEqual([status, response.warnings], ['ok', warnings]);
		assert.deepEqual(answer(await old.say('run:batch_logs', { logs: [line, line] })), {
			status: 'ok',
			response: { warnings },
		});
		assert.equal(await sumOf(db, id.project), sum);
		assert.deepEqual(await lease(), leased);
	});

test('neither the end of the run nor its loss lets the old worker back in', async () => {
	for (const [how, end] of [
		['loss', ({ id }) => lose(db, id, { deadline: '1h' })],
		['end', ({ present }) => present.say('run:complete', stage.runComplete())],
	]) {
		const scene = await overtaken();
		await end(scene);
		const sum = await sumOf(db, scene.id.project);
		assert.deepEqual(answer(await scene.old.rejoin(b)), ok);
		for (const [event, message] of events(scene.id, scene.step))
			assert.deepEqual(answer(await scene.old.say(event, message)), stage.superseded);
		assert.equal(await sumOf(db, scene.id.project), sum, how);
	}
});

test('who joins again with an old claim gets a plan without jobs, and no credential', async () => {
	const { id, old } = await overtaken();
	await old.rejoin(a);
	const { status, response } = await old.say('fetch:plan');
	assert.equal(status, 'ok');
	assert.deepEqual([response.jobs, response.triggers, response.edges], [[], [], []]);
	assert.equal(response.id, id.run);
	const credential = await old.say('fetch:credential', { id: id.credential });
	assert.deepEqual(credential.response.errors, { id: ['Credential not found!'] });
});

test('a claim that was given back before it was joined is refused at the join', async () => {
	const id = await given();
	const held = await Held.claim(a, id);
	await db.query(`UPDATE runs SET claim_epoch = claim_epoch + 1, claim_id = NULL,
		unjoined_claims = ARRAY[claim_id] WHERE id = '${id.run}'`);
	const sum = await sumOf(db, id.project);
	for (const coordinator of [a, b]) {
		const { status, response } = await held.rejoin(coordinator);
		assert.deepEqual([status, response.reason, response.code], ['error', 'superseded', 'superseded']);
	}
	assert.equal(await sumOf(db, id.project), sum);
});

test('a final run is joined with its own epoch: late messages and logs follow', async () => {
	const held = await Held.join(a, await given());
	const complete = stage.runComplete();
	await held.say('run:complete', complete);
	assert.deepEqual(answer(await held.rejoin(b)), ok);
	const { status, response } = await held.say('run:log', { message: ['bye'], timestamp: timestamp() });
	assert.deepEqual([status, response.warnings], ['ok', undefined]);
	assert.deepEqual(answer(await held.say('run:complete', complete)), ok);
	assert.equal(await last(held.id), 'run:complete replayed');
});

// -- Replays ----------------------------------------------------------------------------------------

// Sends it once more, on this channel, joined again, and at the other coordinator: the same `ok`, and
// nothing changed.
const repeats = async (held, event, message, first) => {
	const sum = await sumOf(db, held.id.project);
	for (const way of [() => {}, () => held.rejoin(a), () => held.rejoin(b)]) {
		await way();
		const again = await held.say(event, message);
		assert.deepEqual(answer(again), first);
		assert.equal(await last(held.id), `${event} replayed`);
	}
	assert.equal(await sumOf(db, held.id.project), sum);
};

// Says something else under the same key: refused, and nothing changed.
const conflicts = async (held, event, message, refusal) => {
	const sum = await sumOf(db, held.id.project);
	assert.deepEqual(answer(await held.say(event, message)), refusal);
	assert.equal(await last(held.id), `${event} refused ${refusal.response.code}`);
	assert.equal(await sumOf(db, held.id.project), sum);
};

test('run:start', async () => {
	const held = await Held.join(a, await given());
	const message = stage.runStart();
	assert.deepEqual(answer(await held.say('run:start', message)), ok);
	await repeats(held, 'run:start', message, ok);
	const already = refused('state', 'already started', 'already_started', 'started');
	await conflicts(held, 'run:start', { ...message, timestamp: '1795485247440566' }, already);
	await conflicts(held, 'run:start', { ...message, versions: { worker: '2' } }, already);
});

test('run:start after a step:start that overtook it keeps its versions', async () => {
	const held = await Held.join(a, await given());
	const { id } = held;
	const [step, start] = [stage.stepStart(randomUUID(), id.job_a), stage.runStart()];
	assert.deepEqual(answer(await held.say('step:start', step)), okStep(step.step_id));
	const row = async () =>
		(
			await db.query(`SELECT state, versions, started_by_step,
				(extract(epoch FROM started_at) * 1000000)::bigint FROM runs WHERE id = '${id.run}'`)
		)[0];
	assert.deepEqual(await row(), ['started', 'null', 't', step.timestamp]);
	assert.deepEqual(answer(await held.say('run:start', start)), ok);
	assert.equal(await last(id), 'run:start accepted');
	assert.deepEqual(await row(), ['started', '{"worker":"1.25.0"}', 'f', start.timestamp]);
	await repeats(held, 'run:start', start, ok);
	await repeats(held, 'step:start', step, okStep(step.step_id));
});

test('step:start', async () => {
	const held = await Held.join(a, await given());
	const { id } = held;
	await held.say('run:start', stage.runStart());
	const message = stage.stepStart(randomUUID(), id.job_a, { input_dataclip_id: id.dataclip });
	const first = answer(await held.say('step:start', message));
	assert.deepEqual(first, okStep(message.step_id));
	await repeats(held, 'step:start', message, first);
	for (const other of [
		{ job_id: id.job_b },
		{ timestamp: '1795485247440566' },
		{ input_dataclip_id: undefined },
	])
		await conflicts(held, 'step:start', { ...message, ...other }, conflict('started'));
});

test('step:complete', async () => {
	const held = await Held.join(a, await given());
	const { id } = held;
	const step = randomUUID();
	await held.say('step:start', stage.stepStart(step, id.job_a));
	const message = stage.stepComplete(step, id.job_a, {
		reason: 'fail',
		error_type: 'AdaptorError',
		error_message: 'no',
		output_dataclip_id: randomUUID(),
		output_dataclip: '{"n":1}',
	});
	const first = answer(await held.say('step:complete', message));
	assert.deepEqual(first, okStep(step));
	await repeats(held, 'step:complete', message, first);
	for (const other of [
		{ reason: 'success' },
		{ error_type: null },
		{ error_message: 'yes' },
		{ timestamp: '1795485247440566' },
		{ output_dataclip_id: randomUUID() },
		{ output_dataclip: '{"n":2}' },
	])
		await conflicts(held, 'step:complete', { ...message, ...other }, conflict('started'));
	// An id that was used, under another step.
	const other = randomUUID();
	await held.say('step:start', stage.stepStart(other, id.job_b));
	await conflicts(
		held,
		'step:complete',
		{ ...message, step_id: other, job_id: id.job_b },
		refused('output_dataclip_id', 'has already been taken', 'taken', 'started'),
	);
});

test('step:complete with a large output', async () => {
	const held = await Held.join(a, await given());
	const step = randomUUID();
	await held.say('step:start', stage.stepStart(step, held.id.job_a));
	const message = stage.stepComplete(step, held.id.job_a, {
		output_dataclip_id: randomUUID(),
		output_dataclip: JSON.stringify('x'.repeat(200_000)),
	});
	const first = answer(await held.say('step:complete', message));
	await repeats(held, 'step:complete', message, first);
});

test('step:complete of a step whose start was lost', async () => {
	const held = await Held.join(a, await given());
	await held.say('run:start', stage.runStart());
	const message = stage.stepComplete(randomUUID(), held.id.job_a);
	const first = answer(await held.say('step:complete', message));
	assert.equal(await last(held.id), 'step:complete implicit');
	await repeats(held, 'step:complete', message, first);
});

for (const [what, more, warnings] of [
	['with a dataclip', async (held) => ({ final_dataclip_id: held.id.dataclip })],
	['with a final state', async () => ({ final_state: { n: 1 } })],
	['with a large final state', async () => ({ final_state: { n: 'x'.repeat(200_000) } })],
	[
		'with a final state instead of a dataclip that is missing',
		async () => ({ final_dataclip_id: randomUUID(), final_state: { n: 1 } }),
		{ warnings: { final_dataclip_id: ['does not exist'] } },
	],
])
	test(`run:complete ${what}`, async () => {
		const held = await Held.join(a, await given());
		const message = stage.runComplete({
			reason: 'crash',
			error_type: 'RuntimeError',
			error_message: 'no',
			...(await more(held)),
		});
		const first = answer(await held.say('run:complete', message));
		assert.deepEqual(first, { status: 'ok', response: warnings ?? {} });
		await repeats(held, 'run:complete', message, first);
		const final = stage.alreadyFinal('crashed');
		for (const other of [
			{ reason: 'success' },
			{ error_type: 'Other' },
			{ error_message: 'yes' },
			{ timestamp: '1795485247440566' },
			{ timestamp: undefined },
			{ final_dataclip_id: randomUUID(), final_state: undefined },
		])
			await conflicts(held, 'run:complete', { ...message, ...other }, final);
	});

test('run:complete with another dataclip of the project is other content', async () => {
	const held = await Held.join(a, await given());
	const clip = randomUUID();
	await db.query(`INSERT INTO dataclips (project_id, id, type, body)
		VALUES ('${held.id.project}', '${clip}', 'global', '{}')`);
	const message = stage.runComplete({ final_dataclip_id: held.id.dataclip });
	await held.say('run:complete', message);
	const final = stage.alreadyFinal('success');
	await conflicts(held, 'run:complete', { ...message, final_dataclip_id: clip }, final);
});

test('run:complete without a timestamp is refused when it is repeated', async () => {
	const held = await Held.join(a, await given());
	assert.deepEqual(answer(await held.say('run:complete', { reason: 'success' })), ok);
	await conflicts(held, 'run:complete', { reason: 'success' }, stage.alreadyFinal('success'));
});

test('the order of the checks: epoch, repetition, state, references', async () => {
	const held = await Held.join(a, await given());
	const [start, complete] = [stage.runStart(), stage.runComplete()];
	const nobodys = stage.runComplete({ reason: 'fail', final_dataclip_id: randomUUID() });
	const epoch = (step) =>
		db.query(`UPDATE runs SET claim_epoch = claim_epoch + ${step} WHERE id = '${held.id.run}'`);
	await held.say('run:start', start);
	await held.say('run:complete', complete);
	await epoch(1);
	for (const message of [complete, nobodys])
		assert.deepEqual(answer(await held.say('run:complete', message)), stage.superseded);
	await epoch(-1);
	await repeats(held, 'run:complete', complete, ok);
	await conflicts(held, 'run:complete', nobodys, stage.alreadyFinal('success'));
	const step = stage.stepStart(randomUUID(), randomUUID());
	await conflicts(held, 'step:start', step, stage.alreadyFinal('success'));
});

test('a yielded run:complete is repeated like any other', async () => {
	const held = await Held.join(a, await given());
	await held.say('run:start', stage.runStart());
	await lose(db, held.id, { deadline: '-1s' });
	const message = stage.runComplete();
	await held.say('run:complete', message);
	assert.equal(await last(held.id), 'run:complete yielded');
	await repeats(held, 'run:complete', message, ok);
});

test('repeated while the first is still on its way: once applied, once replayed', async () => {
	const held = await Held.join(a, await given());
	const { id } = held;
	const [start, complete] = [stage.runStart(), stage.runComplete()];
	const step = stage.stepStart(randomUUID(), id.job_a);
	const said = [
		['run:start', start],
		['run:start', start],
		['step:start', step],
		['step:start', step],
		['run:complete', complete],
		['run:complete', complete],
	].map(([event, message]) => held.say(event, message));
	for (const { status } of await Promise.all(said)) assert.equal(status, 'ok');
	assert.deepEqual(
		(await journalOf(db, id.run)).slice(1).map(({ outcome }) => outcome),
		['accepted', 'replayed', 'accepted', 'replayed', 'accepted', 'replayed'],
	);
});

await stage.play();
