// The database crashes under load, again and again, and its leases have run out meanwhile. Every `ok`
// is in it afterwards; what was on its way is sent again, once and in order; nothing is there twice, no
// run is lost. On a cluster of its own, since others' would not like it.

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Database, fixture, journalOf } from '../client/db.mjs';
import { timestamp } from '../client/lib.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, test } from './stage.mjs';

const RUNS = 40, STEPS = 6, CRASHES = 3;

// -- The cluster --------------------------------------------------------------------------------------

const folder = mkdtempSync(join(tmpdir(), 'interlock-restart-'));
chmodSync(folder, 0o755);
const data = join(folder, 'pg');
const cluster = (command) => execFileSync('tests/cluster', [command, data], { encoding: 'utf8' });
const urls = Object.fromEntries(
	[...cluster('start').matchAll(/export (\w+)='(.*)'/g)].map(([, name, url]) => [name, url]),
);
stage.atEnd(() => {
	cluster('remove');
	rmSync(folder, { recursive: true, force: true });
});

const crash = async () => {
	const { uid, gid } = statSync(data);
	const pgCtl = '/usr/lib/postgresql/15/bin/pg_ctl';
	const log = ['-l', join(data, 'server.log')];
	const args = ['-D', data, '-s', '-w', '-m', 'immediate', ...log, 'restart'];
	await promisify(execFile)(pgCtl, args, { cwd: '/', uid, gid });
};

const a = await Coordinator.start(
	'restart-a',
	{ janitor: { interval: '10ms' } },
	{ url: urls.DATABASE_URL, migrate_url: urls.DATABASE_OWNER_URL },
);
let db = new Database(urls.DATABASE_OWNER_URL);

// -- The load -----------------------------------------------------------------------------------------

// Every message that was answered: {run, event, message, reply}.
const said = [];
let whenSaid = () => {};

// One after another, as a worker does.
const work = async (held) => {
	const say = async (event, message) => {
		const reply = await held.say(event, message);
		said.push({ run: held.id.run, event, message, reply });
		whenSaid();
	};
	await say('run:start', stage.runStart());
	for (let i = 0; i < STEPS; i++) {
		const step = randomUUID();
		await say('step:start', stage.stepStart(step, held.id.job_a));
		await say('run:log', { message: [`line ${i}`], level: 'info', timestamp: timestamp(), step_id: step });
		const output = { output_dataclip_id: randomUUID(), output_dataclip: `{"i":${i}}` };
		await say('step:complete', stage.stepComplete(step, held.id.job_a, output));
	}
	await say('run:complete', stage.runComplete({ final_state: { n: 1 } }));
};

// Resolves when so many messages have been answered.
const progress = (n) =>
	new Promise((resolve) => {
		whenSaid = () => said.length >= n && resolve();
		whenSaid();
	});

const total = RUNS * (2 + 3 * STEPS);
const helds = [];

test(`${RUNS} runs, ${CRASHES} crashes: every message is answered ok`, async () => {
	for (let i = 0; i < RUNS; i++) helds.push(await Held.join(a, await fixture(db)));
	const everything = Promise.all(helds.map(work));
	for (let i = 1; i <= CRASHES; i++) {
		await progress(Math.floor((total * i) / (CRASHES + 1)));
		await db.query('BEGIN');
		await db.query('SELECT id FROM work_orders ORDER BY project_id, id FOR NO KEY UPDATE');
		await db.query("UPDATE runs SET lease_expires_at = now() - interval '1min'");
		await db.query('COMMIT');
		await crash();
		db = new Database(urls.DATABASE_OWNER_URL);
	}
	await everything;
	assert.equal(said.length, total);
	for (const { event, reply } of said) {
		assert.equal(reply.status, 'ok', event);
		assert.equal(reply.response.warnings, undefined);
	}
	assert.ok((await a.metric('interlock_resent_total')) > 0, 'something was on its way');
	for (const { worker } of helds) assert.ok(worker.isOpen, 'nobody was hung up on');
});

test('every ok is in the database', async () => {
	const micros = (column) => `(extract(epoch FROM ${column}) * 1000000)::bigint`;
	const rowsOf = async (text) => new Map((await db.query(text)).map(([key, ...row]) => [key, row]));
	const runs = await rowsOf(`SELECT r.id, r.state, ${micros('started_at')}, ${micros('finished_at')}, d.body
		FROM runs r JOIN dataclips d ON d.id = r.final_dataclip_id`);
	const steps = await rowsOf(`SELECT s.id, s.exit_reason, ${micros('s.started_at')},
		${micros('s.finished_at')}, d.body, d.id
		FROM steps s JOIN dataclips d ON d.id = s.output_dataclip_id`);
	const lines = await rowsOf('SELECT id, message, step_id FROM log_lines');
	for (const { run, event, message, reply } of said) {
		const at = message.timestamp;
		if (event === 'run:start') assert.equal(runs.get(run)[1], at);
		if (event === 'run:complete') {
			const [state, , finished, body] = runs.get(run);
			assert.deepEqual([state, finished, body], ['success', at, '{"n":1}']);
		}
		if (event === 'step:start') assert.equal(steps.get(message.step_id)[1], at);
		if (event === 'step:complete') {
			const { output_dataclip_id, output_dataclip } = message;
			const [exit, , ...rest] = steps.get(message.step_id);
			assert.deepEqual([exit, ...rest], ['success', at, output_dataclip, output_dataclip_id]);
		}
		if (event === 'run:log')
			assert.deepEqual(lines.get(reply.response.log_line_id), [message.message[0], message.step_id]);
	}
});

test('nothing is there twice', async () => {
	const counts = await db.query(`SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM steps),
		(SELECT count(*) FROM run_steps), (SELECT count(*) FROM log_lines),
		(SELECT count(*) FROM dataclips WHERE type = 'step_result'), (SELECT count(*) FROM in_flight),
		(SELECT count(*) FROM work_orders WHERE state = 'success')`);
	const steps = RUNS * STEPS;
	assert.deepEqual(counts, [[RUNS, steps, steps, steps, steps + RUNS, 0, RUNS].map(String)]);
});

test('each message was applied once, in its order, and sent again at most once a crash', async () => {
	const expected = ['claim', 'run:start', ...Array(STEPS).fill(['step:start', 'step:complete']).flat(), 'run:complete'];
	for (const { id } of helds) {
		const rows = await journalOf(db, id.run);
		const applied = rows.filter(({ outcome }) => outcome === 'accepted');
		assert.deepEqual(applied.map(({ event }) => event), expected);
		applied.forEach(({ revision }, i) => assert.equal(revision, i + 1));
		const others = rows.filter(({ outcome }) => outcome !== 'accepted');
		assert.ok(others.every(({ outcome }) => outcome === 'replayed'));
		assert.ok(others.length <= CRASHES);
	}
});

await stage.play(150);
