// The race at random: two coordinators with janitors at 10 ms, fifty workers that complete their runs
// around the deadline, on the channel they have or on a new one at either coordinator. Afterwards every run has
// one final outcome that its policy allows, every reply agrees with the journal, and no step is open.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { journalOf } from '../client/db.mjs';
import { timestamp } from '../client/lib.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, db, given, test } from './stage.mjs';

const { INTERLOCK_BIN = 'build/interlock' } = process.env;
const WORKERS = 50, RUNS = 1000, LOAD_MS = 30_000; // runs: of each policy
const policies = ['yield', 'acknowledge', 'reject'];

// A worker's last word comes around the deadline (ms), which follows the race: on a slow machine and on a fast one
// each side wins often.
const SPREAD = 80;
let deadline = 120;

const projects = {};
for (const policy of policies) projects[policy] = await given();
const options = {
	janitor: { interval: '10ms' },
	lost: { lease: '0', grace: '0', late_completion: 'yield' },
	...Object.fromEntries(
		policies.map((policy) => [
			`project "${projects[policy].project}"`,
			{ late_completion: policy },
		]),
	),
};
const coordinators = [
	await Coordinator.start('race-a', options),
	await Coordinator.start('race-b', options),
];
const either = () => coordinators[Math.floor(Math.random() * 2)];
const around = (ms) => Math.random() * ms;

// -- The load -----------------------------------------------------------------------------------------

const ends = []; // {policy, run, reply} of every run:complete

const playRun = async (held, policy) => {
	const { id } = held;
	const step = randomUUID();
	const note = (event, { status, response }) =>
		assert.ok(
			status === 'ok' || (policy === 'reject' && response.code === 'already_final'),
			`${event}: ${JSON.stringify(response)}`,
		);
	const say = async (event, message) => note(event, await held.say(event, message));
	await say('run:start', stage.runStart());
	await say('step:start', stage.stepStart(step, id.job_a));
	await db.query(`UPDATE runs SET deadline_at = clock_timestamp() + interval '${around(deadline).toFixed(3)} ms'
		WHERE project_id = '${id.project}' AND id = '${id.run}'`);
	await pause(around(SPREAD / 2));
	if (Math.random() < 0.3) assert.equal((await held.rejoin(either())).status, 'ok');
	await say('run:log', { message: ['x'], level: 'info', timestamp: timestamp(), step_id: step });
	await say('step:complete', stage.stepComplete(step, id.job_a));
	await pause(around(SPREAD / 2));
	const reply = await held.say('run:complete', stage.runComplete());
	const [[losses]] = await db.query(`SELECT count(*) FROM transitions WHERE event = 'lost'
		AND project_id = '${id.project}' AND run_id = '${id.run}'`);
	deadline *= losses === '0' ? 0.98 : 1.05;
	ends.push({ policy, run: id.run, reply });
};

// Claims and plays until nothing waits, or the time is up and there were enough of them, however slow the machine is.
const work = async (policy, until) => {
	const id = projects[policy];
	const held = Object.assign(new Held(), { worker: await either().worker() });
	await held.worker.join('worker:queue', { capacity: 1 });
	for (let queue = held.worker; Date.now() < until || ends.length <= RUNS; queue = held.worker) {
		if (queue !== held.queue) await queue.join('worker:queue', { capacity: 1 });
		held.queue = queue;
		const claim = { demand: 1, worker_name: policy, queues: [id.queue] };
		const [run] = (await queue.ask('worker:queue', 'claim', claim)).response.runs;
		if (!run) break;
		Object.assign(held, { id: { ...id, run: run.id }, topic: `run:${run.id}`, token: run.token });
		assert.equal((await held.join()).status, 'ok');
		await playRun(held, policy);
		await held.say('phx_leave');
	}
};

test('the janitors are at work', async () => {
	// After a start deadlines are not enforced for half a minute.
	const canary = await Held.join(coordinators[0], await given());
	await db.query(`UPDATE runs SET deadline_at = now() WHERE id = '${canary.id.run}'`);
	const rows = await db.until(
		`SELECT state FROM runs WHERE id = '${canary.id.run}'`,
		([[state]]) => state === 'lost',
		60_000,
	);
	assert.deepEqual(rows, [['lost']]);
});

test(`${WORKERS} workers complete ${policies.length * RUNS} runs around their deadlines`, async () => {
	for (const { workflow, queue } of Object.values(projects))
		await db.query(`SELECT interlock_enqueue('${workflow}', queue => '${queue}')
			FROM generate_series(2, ${RUNS})`);
	const until = Date.now() + LOAD_MS;
	const workers = Array.from({ length: WORKERS }, (_, i) => work(policies[i % 3], until));
	await Promise.all(workers);
	console.log(`${ends.length} runs in ${LOAD_MS + Date.now() - until} ms`);
	assert.ok(ends.length > RUNS);
});

// -- What became of them --------------------------------------------------------------------------------

const journals = new Map();
test('every run has one history, whose end is the run', async () => {
	for (const { project } of Object.values(projects))
		for (const row of await journalOf(db, { project })) {
			if (!journals.has(row.run_id)) journals.set(row.run_id, []);
			journals.get(row.run_id).push(row);
		}
	const states = new Map(
		await db.query(`SELECT id, state, revision FROM runs WHERE state <> 'available'
			AND project_id IN (${Object.values(projects).map(({ project }) => `'${project}'`)})`).then(
			(rows) => rows.map(([id, ...row]) => [id, row]),
		),
	);
	assert.deepEqual(new Set(journals.keys()), new Set(states.keys()));
	for (const [run, rows] of journals) {
		const applied = rows.filter(({ outcome }) => ['accepted', 'yielded'].includes(outcome));
		let changes = 0;
		applied.forEach((row, i) => {
			changes += !row.event.startsWith('step:') || row.from_state !== row.to_state;
			assert.equal(row.revision, changes);
			assert.equal(row.from_state, i ? applied[i - 1].to_state : 'available');
		});
		const { to_state, revision } = applied.at(-1);
		assert.deepEqual(states.get(run), [to_state, String(revision)]);
	}
});

// Journal of the last word, and was there a loss before it → reply and state that the policy allows.
const allowed = {
	yield: { 'accepted': 'ok success', 'lost yielded': 'ok success' },
	acknowledge: { 'accepted': 'ok success', 'lost too_late': 'too_late lost' },
	reject: { 'accepted': 'ok success', 'lost refused': 'already_final lost' },
};

test('every reply agrees with the journal, and both with the policy', async () => {
	const seen = {};
	for (const { policy, run, reply } of ends) {
		const rows = journals.get(run);
		const lost = rows.filter(({ event }) => event === 'lost').length;
		const words = rows.filter(({ event }) => event === 'run:complete');
		assert.deepEqual([lost <= 1, words.length], [true, 1], 'one loss at most, one last word');
		const state = rows.reduce((last, row) => (row.revision >= last.revision ? row : last)).to_state;
		const said = reply.response.code ?? reply.response.outcome ?? reply.status;
		const key = `${lost ? 'lost ' : ''}${words[0].outcome}`;
		assert.equal(`${said} ${state}`, allowed[policy][key], `${policy}: ${key}`);
		seen[`${policy} ${key}`] = (seen[`${policy} ${key}`] ?? 0) + 1;
	}
	console.log(seen);
	// It was a race: neither side always won.
	for (const policy of policies)
		for (const key of Object.keys(allowed[policy])) assert.ok(seen[`${policy} ${key}`] > 5, key);
});

test('interlock verify finds nothing, and the metrics count what the journal has', async () => {
	for (const { project } of Object.values(projects)) {
		const { stdout } = await promisify(execFile)(INTERLOCK_BIN, [
			...['-c', coordinators[0].file, 'verify', '--json', '--project', project],
		]);
		const { runs, not_covered, differences } = JSON.parse(stdout);
		assert.deepEqual([runs, not_covered, differences], [RUNS, 0, 0]);
	}
	for (const policy of policies) {
		const series = `interlock_late_completions_total{policy="${policy}"}`;
		const counted = await Promise.all(coordinators.map((each) => each.metric(series)));
		const ended = ends.filter(
			(end) => end.policy === policy && journals.get(end.run).some(({ event }) => event === 'lost'),
		);
		assert.equal(counted[0] + counted[1], ended.length, policy);
	}
});

test('no final run has an open step or is in flight, and its work order says the same', async () => {
	const final = `r.finalized_at IS NOT NULL AND r.project_id IN
		(${Object.values(projects).map(({ project }) => `'${project}'`)})`;
	const wrong = await db.query(`
		SELECT 'open step', r.id FROM runs r JOIN run_steps rs ON rs.run_id = r.id
			JOIN steps s ON s.id = rs.step_id WHERE s.exit_reason IS NULL AND ${final}
		UNION ALL SELECT 'in flight', r.id FROM runs r JOIN in_flight f ON f.run_id = r.id WHERE ${final}
		UNION ALL SELECT 'waiting', r.id FROM runs r JOIN waiting w ON w.run_id = r.id WHERE ${final}
		UNION ALL SELECT 'work order', r.id FROM runs r JOIN work_orders w ON w.id = r.work_order_id
			WHERE w.state <> r.state AND ${final}`);
	assert.deepEqual(wrong, []);
	// What the load left waiting is not for other tests.
	await db.query(`DELETE FROM waiting WHERE queue IN
		(${Object.values(projects).map(({ queue }) => `'${queue}'`)})`);
});

await stage.play();
