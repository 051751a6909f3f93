// Scoping: a worker of run A names steps, dataclips, credentials and runs of run B. Nothing of B's changes, and
// what exists elsewhere is answered by the same bytes as what does not exist at all.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { sumOf } from '../client/db.mjs';
import { timestamp } from '../client/lib.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, db, given, test } from './stage.mjs';

const a = await Coordinator.start('scope-a');

// A started run with an open step, a dataclip that is its own and a credential.
const begun = async (id) => {
	const held = await Held.join(a, id);
	held.step = randomUUID();
	held.clip = randomUUID();
	const done = randomUUID();
	await held.say('run:start', stage.runStart());
	await held.say('step:start', stage.stepStart(done, id.job_a));
	const output = { output_dataclip_id: held.clip, output_dataclip: '{"secret":"of b"}' };
	await held.say('step:complete', stage.stepComplete(done, id.job_a, output));
	await held.say('step:start', stage.stepStart(held.step, id.job_b));
	return held;
};

// B, once of another project, once of A's own: then with a credential that A's workflow does not name.
const scenes = {
	'another project': async () => [await begun(await given()), await begun(await given())],
	'the same project': async () => {
		const id = await given();
		const one = await begun(id);
		const credential = randomUUID();
		await db.query(`INSERT INTO credentials (project_id, id, name, body)
			VALUES ('${id.project}', '${credential}', 'other', '\\x00')`);
		const [[, run]] = await db.query(`SELECT * FROM interlock_retry('${id.run}')`);
		return [one, await begun({ ...id, run, credential })];
	},
};

// The bytes of the answer, with the ids that the worker itself named, or was given, put out of sight.
const bytes = ({ status, text }, ...ids) =>
	ids.reduce((all, id) => all.replaceAll(id, '…'), `${status} ${text}`).replace(
		/"log_line_id":"[^"]+"/,
		'"log_line_id":"…"',
	);

// Each: [event, message that names this id, whose id of B's it is, what must be so besides]. Any number of
// them may be sent.
const step_id = (held) => held.step;
const clip = (held) => held.clip;
const credential = ({ id }) => id.credential;
const job = ({ id }) => id.job_a;

// A line goes without the step, and says so.
const stepless = async (replies, { id }) => {
	for (const reply of replies)
		assert.match(reply, /"warnings":{"step_id":\["must be associated with the run"\]}/);
	const lines = await db.query(`SELECT step_id FROM log_lines WHERE run_id = '${id.run}'`);
	assert.ok(lines.length > 0);
	for (const [step] of lines) assert.equal(step, 'null');
};
const readable = {
	'step:complete without a job': [
		'step:complete',
		(_, id) => stage.stepComplete(id, undefined),
		step_id,
	],
	'a log line': [
		'run:log',
		(_, id) => ({ message: ['x'], level: 'info', timestamp: timestamp(), step_id: id }),
		step_id,
		stepless,
	],
	'many log lines': [
		'run:batch_logs',
		(_, id) => ({ logs: [{ message: 'x', timestamp: timestamp(), step_id: id }] }),
		step_id,
		stepless,
	],
	'fetch:credential': ['fetch:credential', (_, id) => ({ id }), credential],
	'fetch:dataclip': ['fetch:dataclip', (_, id) => ({ id }), clip],
	'the credential of a step': [
		'step:start',
		(held, id) => stage.stepStart(randomUUID(), held.id.job_b, { credential_id: id }),
		credential,
	],
	'the run of a log line': [
		'run:log',
		(_, id) => ({ run_id: id, message: ['x'], timestamp: timestamp() }),
		({ id }) => id.run,
	],
};
// In the same project a dataclip may be named, and a job is the same workflow's.
const foreign = {
	'the input of a step': [
		'step:start',
		(held, id) => stage.stepStart(randomUUID(), held.id.job_b, { input_dataclip_id: id }),
		clip,
	],
	'the job of a step': ['step:start', (_, id) => stage.stepStart(randomUUID(), id), job],
	'the job of a step whose start was lost': [
		'step:complete',
		(_, id) => stage.stepComplete(randomUUID(), id),
		job,
	],
	'a new step with the id of an old one': [
		'step:start',
		(held, id) => stage.stepStart(id, held.id.job_b),
		step_id,
	],
	'the end of a step whose id is used elsewhere': [
		'step:complete',
		(held, id) => stage.stepComplete(id, held.id.job_b),
		step_id,
	],
	'the output of a step': [
		'step:complete',
		(held, id) =>
			stage.stepComplete(randomUUID(), held.id.job_b, {
				output_dataclip_id: id,
				output_dataclip: '{}',
			}),
		clip,
	],
	'the final dataclip': [
		'run:complete',
		(_, id) => stage.runComplete({ final_dataclip_id: id }),
		clip,
	],
	'the final dataclip, with a final state': [
		'run:complete',
		(_, id) => stage.runComplete({ final_dataclip_id: id, final_state: {} }),
		clip,
	],
};

const compare = async (scene, [event, message, whose, check]) => {
	const [one, other] = await scene();
	const theirs = await sumOf(db, other.id.project);
	const shared = one.id.project === other.id.project;
	const replies = [];
	for (const id of [randomUUID(), whose(other)]) {
		// Each is said in a run of its own, so that the first does not weigh on the second.
		const held = shared || replies.length === 0 ? one : await begun(await given());
		const sent = message(held, id);
		const reply = await held.say(event, sent);
		replies.push(bytes(reply, sent.step_id ?? id, id));
	}
	assert.equal(replies[1], replies[0]);
	if (check) await check(replies, one);
	if (!shared) return assert.equal(await sumOf(db, other.id.project), theirs);
	const steps = await db.query(`SELECT exit_reason FROM steps WHERE id = '${other.step}'`);
	assert.deepEqual(steps, [['null']], 'the other step is as it was');
};

for (const [name, scene] of Object.entries(scenes))
	for (const [what, row] of Object.entries(
		name === 'another project' ? { ...readable, ...foreign } : readable,
	))
		test(`${what}, of ${name}`, () => compare(scene, row));

// What an id of the same project can be used for, is said; nothing of the other run changes.
for (const [what, event, message, field, sentence, code] of [
	[
		'a step of the other run is not begun again',
		'step:start',
		(one, other) => stage.stepStart(other.step, one.id.job_b),
		...['step_id', 'has already been taken', 'conflict'],
	],
	[
		'a step of the other run is not completed',
		'step:complete',
		(one, other) => stage.stepComplete(other.step, one.id.job_b),
		...['step_id', 'not found', 'not_found'],
	],
	[
		'a dataclip of the other run is not overwritten',
		'step:complete',
		(one, other) =>
			stage.stepComplete(one.step, one.id.job_b, {
				output_dataclip_id: other.clip,
				output_dataclip: '{"n":2}',
			}),
		...['output_dataclip_id', 'has already been taken', 'taken'],
	],
	[
		'nor by a large one',
		'step:complete',
		(one, other) =>
			stage.stepComplete(one.step, one.id.job_b, {
				output_dataclip_id: other.clip,
				output_dataclip: JSON.stringify('x'.repeat(100_000)),
			}),
		...['output_dataclip_id', 'has already been taken', 'taken'],
	],
])
	test(`the same project: ${what}`, async () => {
		const [one, other] = await scenes['the same project']();
		const sum = await sumOf(db, one.id.project);
		assert.deepEqual(
			stage.answer(await one.say(event, message(one, other))),
			stage.refused(field, sentence, code, 'started'),
		);
		assert.equal(await sumOf(db, one.id.project), sum);
	});

test('a large output under the id of a step of another run is not kept', async () => {
	const [one, other] = await scenes['the same project']();
	const sum = await sumOf(db, one.id.project);
	const message = stage.stepComplete(other.step, one.id.job_b, {
		output_dataclip_id: randomUUID(),
		output_dataclip: JSON.stringify('x'.repeat(100_000)),
	});
	assert.equal((await one.say('step:complete', message)).response.code, 'not_found');
	assert.equal(await sumOf(db, one.id.project), sum);
});

test("another run's channel is not joined with one's own token", async () => {
	for (const scene of Object.values(scenes)) {
		const [one, other] = await scene();
		const sum = await sumOf(db, one.id.project, other.id.project);
		const replies = [];
		for (const run of [randomUUID(), other.id.run]) {
			const reply = await one.worker.ask(`run:${run}`, 'phx_join', { token: one.token });
			replies.push(bytes(reply, run));
			const said = await one.worker.ask(`run:${run}`, 'run:complete', stage.runComplete());
			replies.push(bytes(said, run));
		}
		assert.deepEqual(replies.slice(2), replies.slice(0, 2));
		assert.equal(JSON.parse(replies[0].slice('error '.length)).reason, 'unauthorized');
		assert.equal(await sumOf(db, one.id.project, other.id.project), sum);
	}
});

test('the input is the run’s own whatever is asked for', async () => {
	const [one, other] = await scenes['another project']();
	const { response } = await one.say('fetch:dataclip', { id: other.clip });
	assert.deepEqual(response, { data: { n: 7 } });
});

await stage.play();
