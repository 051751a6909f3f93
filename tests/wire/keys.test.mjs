// What a message refers to vanishes while the message is being stored. The statement has seen it, the foreign
// key has not: what comes back is the named field's error, as if it had never been there, and the
// messages in the same batch lose nothing.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Database, blocked, lockOrder } from '../client/db.mjs';
import { timestamp } from '../client/lib.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, answer, databaseUrl, db, given, refused, test } from './stage.mjs';

// One writer: what queues up behind a batch is in the next one together.
const a = await Coordinator.start('keys-a', { database: { writers: 1 } });
const deleter = new Database(databaseUrl);
const holder = new Database(databaseUrl);

const started = async () => {
	const held = await Held.join(a, await given());
	await held.say('run:start', stage.runStart());
	return held;
};
const newClip = async ({ id }) => {
	const clip = randomUUID();
	await db.query(`INSERT INTO dataclips (project_id, id, type, body)
		VALUES ('${id.project}', '${clip}', 'global', '{}')`);
	return clip;
};
const deleteClip = (clip) => `DELETE FROM dataclips WHERE id = '${clip}'`;
const deleteJob = ({ id }) =>
	`DELETE FROM snapshot_jobs WHERE snapshot_id = '${id.snapshot}' AND job_id = '${id.job_a}'`;

const missing = (field) => refused(field, 'does not exist', 'does_not_exist', 'started');
const ok = { status: 'ok', response: {} };

// Each: how to begin, [what to delete, the message, the reply without it, the reply with it].
const cases = {
	'the final dataclip': async (held) => {
		const clip = await newClip(held);
		const message = stage.runComplete({ final_dataclip_id: clip });
		return [deleteClip(clip), 'run:complete', message, missing('final_dataclip_id'), ok];
	},
	'the final dataclip, when there is a final state': async (held) => {
		const clip = await newClip(held);
		const message = stage.runComplete({ final_dataclip_id: clip, final_state: { n: 1 } });
		const warned = { warnings: { final_dataclip_id: ['does not exist'] } };
		return [deleteClip(clip), 'run:complete', message, { status: 'ok', response: warned }, ok];
	},
};
// No foreign key: nothing deletes the jobs of a version that has runs (`interlock delete` takes both). So the
// statement's own look is enough.
const unkeyed = {
	"a step's job": async (held) => {
		const message = stage.stepStart(randomUUID(), held.id.job_a);
		const fine = { status: 'ok', response: { step_id: message.step_id } };
		return [deleteJob(held), 'step:start', message, missing('job_id'), fine];
	},
	'the job of a step whose start was lost': async (held) => {
		const message = stage.stepComplete(randomUUID(), held.id.job_a);
		const fine = { status: 'ok', response: { step_id: message.step_id } };
		const no = refused('step_id', 'not found', 'not_found', 'started');
		return [deleteJob(held), 'step:complete', message, no, fine];
	},
};

// Messages of every kind, of runs that nothing happens to.
const bystanders = async () => {
	const [one, two, three, four] = [await started(), await started(), await started(), await started()];
	const step = randomUUID();
	await two.say('step:start', stage.stepStart(step, two.id.job_a));
	const workers = [one, two, three, four].map(({ worker }) => worker);
	const say = () => [
		one.say('run:complete', stage.runComplete({ final_state: { n: 1 } })),
		two.say('step:complete', stage.stepComplete(step, two.id.job_a)),
		three.say('step:start', stage.stepStart(randomUUID(), three.id.job_a)),
		four.say('run:log', { message: ['x'], level: 'info', timestamp: timestamp() }),
	];
	return { workers, say };
};

for (const [what, prepare] of Object.entries({ ...cases, ...unkeyed }))
	test(`${what}: deleted while the message waits for the lock`, async () => {
		const held = await started();
		const [deletion, event, message, without] = await prepare(held);
		await holder.query('BEGIN');
		await holder.query(lockOrder(held.id.work_order));
		const reply = held.say(event, message);
		await blocked(db, holder);
		await db.query(deletion);
		await holder.query('COMMIT');
		assert.deepEqual(answer(await reply), without);
	});

for (const [what, prepare] of Object.entries(cases)) {
	test(`${what}: deleted between the check and the update, in a batch with others`, async () => {
		const held = await started();
		const [deletion, event, message, without] = await prepare(held);
		const [others, first] = [await bystanders(), await started()];
		const one_by_one = 'interlock_batches_total{lane="write0",result="one_by_one"}';
		const before = await a.metric(one_by_one);
		await deleter.query('BEGIN');
		await deleter.query(deletion);
		// A batch of one is held back, so that the next one has them all.
		await holder.query('BEGIN');
		await holder.query(lockOrder(first.id.work_order));
		const ahead = first.say('run:complete', stage.runComplete());
		await blocked(db, holder);
		const replies = [held.say(event, message), ...others.say()];
		// The heartbeats come back behind what was sent before them: all are queued.
		const workers = [held.worker, ...others.workers];
		await Promise.all(workers.map((worker) => worker.ask('phoenix', 'heartbeat')));
		await holder.query('COMMIT');
		await blocked(db, deleter);
		await deleter.query('COMMIT');
		const [failing, ...rest] = await Promise.all(replies);
		assert.deepEqual(answer(failing), without);
		for (const { status, response } of [await ahead, ...rest])
			assert.deepEqual([status, response.warnings], ['ok', undefined]);
		assert.ok((await a.metric(one_by_one)) > before, 'they were in one batch');
	});

	for (const [end, how] of [
		['COMMIT', 'deleted between the check and the update, in a batch of one'],
		['ROLLBACK', 'the deletion is taken back while the message waits for it'],
	])
		test(`${what}: ${how}`, async () => {
			const held = await started();
			const [deletion, event, message, without, within] = await prepare(held);
			await deleter.query('BEGIN');
			await deleter.query(deletion);
			const reply = held.say(event, message);
			await blocked(db, deleter);
			await deleter.query(end);
			assert.deepEqual(answer(await reply), end === 'COMMIT' ? without : within);
		});
}

test('a run that was refused for it is as it was, and completes without it', async () => {
	const held = await started();
	const clip = await newClip(held);
	await deleter.query('BEGIN');
	await deleter.query(deleteClip(clip));
	const reply = held.say('run:complete', stage.runComplete({ final_dataclip_id: clip }));
	await blocked(db, deleter);
	await deleter.query('COMMIT');
	assert.equal((await reply).status, 'error');
	const state = () => db.query(`SELECT state, revision FROM runs WHERE id = '${held.id.run}'`);
	assert.deepEqual(await state(), [['started', '2']]);
	assert.deepEqual(answer(await held.say('run:complete', stage.runComplete())), ok);
	assert.deepEqual(await state(), [['success', '3']]);
});

await stage.play();
