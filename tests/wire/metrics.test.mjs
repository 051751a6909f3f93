// /metrics: valid for Prometheus' own tool, and what it says of runs that were made to wait, be claimed,
// started, completed, lost, is what happened. Queues may be called anything.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Database, fixture, quote } from '../client/db.mjs';
import { Worker } from '../client/lib.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, test } from './stage.mjs';

const urls = await stage.newDatabase('metrics');
const db = new Database(urls.migrate_url);
const a = await Coordinator.start('metrics-a', {}, urls);

const scrape = async () => (await fetch(`http://${a.address}/metrics`)).text();
// Asks again until the series has this value: gauges of the runs are sampled.
const until = async (series, holds) => {
	const value = await a.untilMetric(series, holds);
	assert.ok(holds(value), `${series} is ${value}`);
};

test("is clean for Prometheus' tool, with every series that has been seen", async () => {
	const { status, stdout, stderr } = spawnSync('build/tools/usr/bin/promtool', ['check', 'metrics'], {
		input: await scrape(),
		encoding: 'utf8',
	});
	assert.deepEqual([status, stdout, stderr], [0, '', '']);
});

test('says what is running', async () => {
	const [, version, schema] = execFileSync(process.env.INTERLOCKD_BIN, ['--version'], {
		encoding: 'utf8',
	}).match(/interlockd (\S+), schema (\d+)/);
	assert.equal(await a.metric(`interlock_build_info{version="${version}",schema="${schema}"}`), 1);
	assert.equal(await a.metric('interlock_ready'), 1);
	assert.ok(Math.abs((await a.metric('process_start_time_seconds')) - Date.now() / 1000) < 60);
	assert.ok((await a.metric('process_resident_memory_bytes')) > 1e6);
	const fds = await a.metric('process_open_fds');
	assert.ok(fds > 10 && fds < (await a.metric('process_max_fds')));
});

// Sampled every ten seconds: all of it is brought about first, and looked at once.
test('counts what waits and what is in flight, and for how long the oldest has waited', async () => {
	const odd = 'a "b" \\ c\nd é';
	const [claimed, started, waiting] = [await fixture(db), await fixture(db), await fixture(db)];
	const enqueue = (queue, n) =>
		db.query(`SELECT interlock_enqueue('${waiting.workflow}', queue => ${queue}) FROM generate_series(1, ${n}) i`);
	await enqueue(quote(odd), 3);
	await db.query(`UPDATE runs SET inserted_at = now() - interval '500 s' WHERE seq = (SELECT max(seq) - 2 FROM runs)`);
	await enqueue(`'many ' || i`, 60);
	const idle = await Held.join(a, claimed);
	const held = await Held.join(a, started);
	await held.say('run:start', stage.runStart());

	await until('interlock_runs{state="started"}', (n) => n === 1);
	assert.equal(await a.metric('interlock_runs{state="claimed"}'), 1);
	assert.equal(await a.metric('interlock_claimed_runs_total'), 2);
	const lines = (await scrape()).split('\n').filter((line) => line.startsWith('interlock_waiting_runs{'));
	assert.equal(lines.length, 51, 'beyond fifty names the other queues are counted together');
	const [[rows]] = await db.query('SELECT count(*) FROM waiting');
	assert.equal(lines.reduce((n, line) => n + Number(line.match(/ (\d+)$/)[1]), 0), Number(rows));
	const ages = (await scrape()).split('\n').filter((line) => line.startsWith('interlock_oldest_waiting_run_age_seconds{'));
	const age = Math.max(...ages.map((line) => Number(line.match(/ ([\d.]+)$/)[1])));
	assert.ok(age >= 500 && age < 540, String(age));

	await db.query(`DELETE FROM waiting WHERE queue <> ${quote(odd)}`);
	const end = stage.runComplete({ reason: 'fail' });
	await held.say('run:complete', end);
	await held.say('run:complete', end);
	assert.equal(await a.metric('interlock_finished_runs_total{state="failed"}'), 1, 'a repetition is not counted');
	assert.equal(await a.metric('interlock_messages_total{event="run:complete",outcome="ok"}'), 2);
	await until('interlock_runs{state="started"}', (n) => n === 0);
	assert.equal(await a.metric('interlock_waiting_runs{queue="(others)"}'), 0);
	const label = odd.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
	if (lines.some((line) => line.includes(label)))
		assert.equal(await a.metric(`interlock_waiting_runs{queue="${label}"}`), 3);
	await idle.worker.cut();
	await held.worker.cut();
	await db.query('DELETE FROM waiting');
});

test('counts sockets and bytes', async () => {
	const [before, sent] = [await a.metric('interlock_received_bytes_total'), await a.metric('interlock_sent_bytes_total')];
	const worker = await a.worker();
	assert.equal(await a.metric('interlock_sockets'), 1);
	await worker.join('worker:queue', { capacity: 1, padding: 'x'.repeat(100_000) });
	const got = (await a.metric('interlock_received_bytes_total')) - before;
	assert.ok(got > 100_000 && got < 100_300, String(got));
	assert.ok((await a.metric('interlock_sent_bytes_total')) > sent);
	await worker.cut();
	await until('interlock_sockets', (n) => n === 0);
	await assert.rejects(new Worker(a.url, 'another secret').opened);
	assert.equal(await a.metric('interlock_handshakes_total{result="unauthorized"}'), 1);
});

test('measures batches', async () => {
	const text = await scrape();
	const value = (series) => Number(text.split('\n').find((line) => line.startsWith(`${series} `)).split(' ').pop());
	for (const name of ['messages', 'duration_seconds', 'wait_seconds'])
		assert.ok(value(`interlock_batch_${name}_count{lane="write0"}`) + value(`interlock_batch_${name}_count{lane="write1"}`) > 0, name);
	assert.equal(value('interlock_committing_messages{lane="write0"}'), 0);
});

// The alerts are about what is really there: each series that they name is printed, with those labels.
test('has every series that the alerts are about', async () => {
	const text = await scrape();
	const rules = readFileSync('config/alerts.yml', 'utf8');
	const named = new Set([...rules.matchAll(/\b(interlock|process)_[a-z_]+/g)].map(([name]) => name));
	const later = ['interlock_janitor_active', 'interlock_log_line_warnings_total', 'interlock_db_clock_offset_seconds'];
	for (const name of named)
		if (!later.includes(name)) assert.match(text, new RegExp(`^${name}[{ ]`, 'm'), name);
});

test('stays clean after all this', async () => {
	const { status, stderr } = spawnSync('build/tools/usr/bin/promtool', ['check', 'metrics'], {
		input: await scrape(),
		encoding: 'utf8',
	});
	assert.deepEqual([status, stderr], [0, '']);
});

await stage.play();
