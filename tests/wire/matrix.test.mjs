// Every pair of run states, tried against PostgreSQL by each message that could lead from the one to the
// other: the run is put into the first state by hand, its worker speaks, and the run must then be in
// the second exactly if the daemon's own table of moves has the move, by that message. The
// expectation is read from that table (`interlockd --fsm`); pairs to which no message leads are counted.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import * as stage from './stage.mjs';
import { Coordinator, Held, db, given, test } from './stage.mjs';

const STATES = ['available', 'claimed', 'started', 'success', 'failed', 'crashed'].concat(
	['cancelled', 'killed', 'exception', 'lost'],
);

// -- The table --------------------------------------------------------------------------------------

const readMoves = (dot) => {
	const labels = (pattern) => [...dot.matchAll(pattern)];
	const [[, members]] = labels(/^\tfinished \[label="(.*?)"/gm);
	const finished = members.split('\\n').filter(Boolean);
	return new Set(
		labels(/^\t(\w+) -> (\w+) \[label="(.*?)\\n/gm).flatMap(([, from, to, event]) =>
			(to === 'finished' ? finished : [to]).map((each) => `${from} → ${each} by ${event}`),
		),
	);
};
const binary = process.env.INTERLOCKD_BIN ?? 'build/interlockd';
const moves = readMoves(execFileSync(binary, ['--fsm'], { encoding: 'utf8' }));

// -- The messages -----------------------------------------------------------------------------------

const coordinator = await Coordinator.start('matrix');

const REASONS = {
	success: 'success',
	failed: 'fail',
	crashed: 'crash',
	cancelled: 'cancel',
	killed: 'kill',
	exception: 'exception',
};
const speaker = await coordinator.worker();
await speaker.join('worker:queue', { capacity: 5 });

// By the state that is wanted: the messages that could lead there, and what they are called in the table
// (the late run:complete has a row of its own).
const messages = (to) => {
	if (to === 'claimed')
		return {
			claim: ({ id }) => speaker.ask('worker:queue', 'claim', { queues: [id.queue] }),
			phx_join: (held) => held.join(),
		};
	if (to === 'started')
		return {
			'run:start': (held) => held.say('run:start', stage.runStart()),
			'step:start': (held) =>
				held.say('step:start', stage.stepStart(randomUUID(), held.id.job_a)),
			phx_join: (held) => held.join(),
		};
	const complete = () => stage.runComplete({ reason: REASONS[to] });
	return REASONS[to] ? { 'run:complete': (held) => held.say('run:complete', complete()) } : {};
};

// -- The states -------------------------------------------------------------------------------------

// By hand, and so that nothing but the state stands in the way: the epoch is the channel's, and a run in
// any state is offered to claims. A lost run was lost from where it is wanted to go.
const put = async ({ id }, from, to) => {
	const final = !['available', 'claimed', 'started'].includes(from);
	const times = final ? 'now(), finalized_at = now()' : 'NULL, finalized_at = NULL';
	await db.query(`UPDATE runs SET state = '${from}', finished_at = ${times}, started_at = now(),
		deadline_at = now() + interval '1 hour',
		lost_from = ${from === 'lost' ? `'${to === 'claimed' ? to : 'started'}'` : 'NULL'}
		WHERE id = '${id.run}'`);
	await db.query(`DELETE FROM in_flight WHERE run_id = '${id.run}'`);
	const table = ['claimed', 'started'].includes(from) ? 'in_flight' : 'waiting';
	const columns = { in_flight: '', waiting: 'queue, priority, seq, ' }[table];
	await db.query(`INSERT INTO ${table} SELECT project_id, workflow_id, ${columns} id FROM runs
		WHERE id = '${id.run}'`);
};
const stateOf = async ({ id }) =>
	(await db.query(`SELECT state FROM runs WHERE id = '${id.run}'`))[0][0];

let skipped = 0;
const seen = new Set();
for (const from of STATES)
	for (const to of STATES) {
		if (!Object.keys(messages(to)).length) skipped++;
		for (const [event, say] of Object.entries(messages(to))) {
			const names = [event, `late ${event}`].map((name) => `${from} → ${to} by ${name}`);
			const possible = names.some((name) => moves.has(name));
			names.forEach((name) => seen.add(name));
			test(`${from} → ${to} by ${event}: ${possible ? 'yes' : 'no'}`, async () => {
				const held = await Held.join(coordinator, await given());
				await put(held, from, to);
				const { response } = await say(held);
				assert.equal(await stateOf(held), possible ? to : from, JSON.stringify(response));
				await held.worker.cut();
				await db.query('DELETE FROM waiting');
			});
		}
	}

test('no move of the table was left out that a message of the worker makes', () => {
	const ours = ['release', 'requeue', 'lost', 'cancel', 'accept'];
	const left = [...moves].filter(
		(move) => !seen.has(move) && !ours.some((event) => move.endsWith(` by ${event}`)),
	);
	assert.deepEqual(left, []);
});

console.log(`${skipped} pairs to which no message leads`);
await stage.play();
