// A primary dies before its asynchronous standby has the last commits: acknowledged changes are lost, and the
// standby delivers the same run a second time, with the same epoch. The first worker does not know that, and
// nothing that it sends may be applied.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { fixture, journalOf, sumOf } from '../client/db.mjs';
import { timestamp } from '../client/lib.mjs';
import * as stage from '../wire/stage.mjs';
import { Coordinator, Held, answer, play, test } from '../wire/stage.mjs';
import { claimsOf } from '../wire/token.mjs';
import { Cluster } from './cluster.mjs';
import { LEASE, beat } from './silence/lib.mjs';

const { INTERLOCK_BIN } = process.env;
const ok = { status: 'ok', response: {} };

const primary = await Cluster.start('async');
const standby = await primary.standby();
const both = `postgresql://interlock@127.0.0.1:${standby.port},127.0.0.1:${primary.port}/interlock`;
const options = { database: { url: both, writers: 1 }, lost: { lease: `${LEASE}s` } };
const a = await Coordinator.start('async-a', options, { ...primary.urls(), url: both });
let db = await primary.psql();

// Claimed twice; claimed in the history that is lost, and never again; claimed afterwards. Of a fourth one
// the standby has nothing.
const [twice, once, later] = [await fixture(db), await fixture(db), await fixture(db)];
const root = await primary.psql(primary.root);
await root.until('SELECT pg_current_wal_lsn() <= replay_lsn FROM pg_stat_replication', ([row]) => row?.[0] === 't');

const row = async ({ run }) => {
	const columns = ['state', 'claim_epoch', 'worker_name', 'lease_expires_at'];
	const [cells] = await db.query(`SELECT ${columns} FROM runs WHERE id = '${run}'`);
	return Object.fromEntries(cells.map((cell, i) => [columns[i], cell]));
};

// All that a worker can say of a run; a step that it has begun.
const events = ({ id, step }) => [
	['run:start', stage.runStart()],
	['step:start', stage.stepStart(randomUUID(), id.job_b)],
	['step:complete', stage.stepComplete(step, id.job_a)],
	[
		'step:complete',
		stage.stepComplete(randomUUID(), id.job_b, {
			output_dataclip_id: randomUUID(),
			output_dataclip: JSON.stringify('x'.repeat(100_000)),
		}),
	],
	['run:complete', stage.runComplete({ final_state: { n: 'x'.repeat(100_000) } })],
	['run:complete', { reason: 'nothing that we know' }],
];

const saysInVain = async (held) => {
	const { project } = held.id;
	const sum = await sumOf(db, project);
	for (const [event, message] of events(held))
		assert.deepEqual(answer(await held.say(event, message)), stage.superseded, event);
	const line = { message: ['late'], level: 'info', timestamp: timestamp() };
	for (const [event, message] of [['run:log', line], ['run:batch_logs', { logs: [line, line] }]]) {
		const { status, response } = await held.say(event, message);
		assert.deepEqual([status, response.warnings], ['ok', { state: ['claimed by another worker'] }], event);
	}
	const { response } = await held.say('fetch:credential', { id: held.id.credential });
	assert.deepEqual(response.errors, { id: ['Credential not found!'] });
	assert.equal(await sumOf(db, project), sum);
};

const begin = async (id, worker_name) => {
	const held = await Held.join(a, id, worker_name);
	held.step = randomUUID();
	for (const [event, message] of [
		['run:start', stage.runStart()],
		['step:start', stage.stepStart(held.step, id.job_a)],
	])
		assert.equal((await held.say(event, message)).status, 'ok', event);
	return held;
};

let old, alone, fresh, present;

test('what the standby lacks is lost: the run is claimed again, with the same epoch', async () => {
	await standby.stop();
	[old, alone] = [await begin(twice, 'old'), await begin(once, 'alone')];
	fresh = await begin(await fixture(db), 'fresh');
	assert.equal((await row(twice)).state, 'started');
	const from = a.logged.length;
	await primary.stop('immediate');
	await standby.start();
	await standby.promote();
	db = await standby.psql();
	await a.says(/msg="ready"/, from);
	assert.match(a.logged.slice(from), new RegExp(`connected to \\S+ port ${standby.port}`));
	assert.deepEqual((await row(twice)).claim_epoch, '0');
	present = await Held.join(a, twice, 'present');
	assert.equal((await present.say('run:start', stage.runStart())).status, 'ok');
	const [lost, found] = [claimsOf(old.token), claimsOf(present.token)];
	assert.deepEqual([lost.epoch, found.epoch], [1, 1]);
	assert.notEqual(lost.claim, found.claim);
});

test('the first worker changes nothing, on the channel that it has', () => saysInVain(old));

test('its heartbeats do not extend the lease of the other claim', async () => {
	// Of the runs that its socket holds, the last: when its lease is extended, the others have had their turn.
	const own = Object.assign(new Held(), { worker: old.worker, id: later, topic: `run:${later.run}` });
	await own.worker.join('worker:queue', { capacity: 5 });
	[{ token: own.token }] = await stage.claimOne(own.worker, { worker_name: 'old', queues: [later.queue] });
	assert.equal((await own.join()).status, 'ok');
	const [{ lease_expires_at: before }, { lease_expires_at: its }] = [await row(twice), await row(later)];
	beat(own.worker, 500);
	const leased = `SELECT lease_expires_at FROM runs WHERE id = '${later.run}'`;
	assert.notEqual((await db.until(leased, ([[at]]) => at !== its, 60_000))[0][0], its);
	assert.equal((await row(twice)).lease_expires_at, before);
});

test('it may join again, like every earlier worker of the run, and gets a plan without jobs', async () => {
	for (const held of [old, alone, fresh]) {
		assert.deepEqual(answer(await held.rejoin(a)), ok);
		const { status, response } = await held.say('fetch:plan');
		assert.deepEqual([status, response.jobs], ['ok', []]);
		await saysInVain(held);
	}
	assert.deepEqual([(await row(once)).state, (await row(once)).claim_epoch], ['available', '0']);
});

test('the run that it shared is completed by the other one, and nothing changes for it afterwards', async () => {
	assert.deepEqual(answer(await present.say('run:complete', stage.runComplete())), ok);
	await saysInVain(old);
	const { state, worker_name } = await row(twice);
	assert.deepEqual([state, worker_name], ['success', 'present']);
	const applied = (await journalOf(db, twice.run)).filter(({ outcome }) => outcome === 'accepted');
	assert.deepEqual(applied.map(({ event }) => event), ['claim', 'run:start', 'run:complete']);
	const verified = execFileSync(INTERLOCK_BIN, ['-c', a.file, 'verify', '--json'], { encoding: 'utf8' });
	assert.equal(JSON.parse(verified).differences, 0);
});

await play();
