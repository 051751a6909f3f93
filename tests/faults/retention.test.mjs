// long: five loads one after another
// Data that lives for a second, under load, with a coordinator that is killed in the middle: the tables stop growing, in
// rows and on disk, nothing is left by half, and of a project that keeps its data longer nothing is missing.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { Coordinator, play, test } from '../wire/stage.mjs';
import { check } from './checker.mjs';
import { Cluster } from './cluster.mjs';
import { Load, runs } from './load.mjs';

const RUNS = 150;
const short = { runs: '1s', dataclips: '1s', logs: '1s' }, long = { runs: '2h', dataclips: '1h', logs: '1h' };
const options = { janitor: { interval: '20ms' }, retention: short };

const cluster = await Cluster.start('retention');
let a = await Coordinator.start('faults-retention', {}, cluster.urls());
const db = await cluster.psql();
const kept = new Load({ url: a.url, id: await runs(db, RUNS) });
const tables = ['work_orders', 'runs', 'steps', 'dataclips', 'log_lines', 'journal_counts', 'waiting', 'in_flight'];
const rows = async (project, of = tables) =>
	Number((await db.query(`SELECT ${of.map((table) =>
		`(SELECT count(*) FROM ${table} WHERE project_id = '${project}')`).join(' + ')}`))[0][0]);
const over = (id) => db.until(`SELECT count(*) FROM work_orders WHERE project_id = '${id.project}'
	AND state IN ('pending', 'running')`, ([[n]]) => n === '0', 120_000);
const half = async () => (await db.query(`
	SELECT 'step', id FROM steps s WHERE NOT EXISTS (SELECT FROM runs r WHERE r.id = s.run_id)
	UNION ALL SELECT 'line', id FROM log_lines l WHERE NOT EXISTS (SELECT FROM runs r WHERE r.id = l.run_id)
	UNION ALL SELECT 'work order', id FROM work_orders w WHERE NOT EXISTS (SELECT FROM runs r WHERE r.work_order_id = w.id)
	UNION ALL SELECT 'dataclip', id FROM dataclips d WHERE NOT EXISTS (SELECT FROM runs r WHERE r.id = d.source_id)
		AND NOT EXISTS (SELECT FROM steps s WHERE s.id = d.source_id)
		AND NOT EXISTS (SELECT FROM work_orders w WHERE w.id = d.source_id)`)).map((row) => row.join(' '));
// On disk, once dead rows are gone.
const bytes = async () => {
	await db.query('VACUUM work_orders, runs, steps, dataclips, log_lines, journal_counts');
	return Number((await db.query(`SELECT sum(pg_total_relation_size(oid)) FROM pg_class
		WHERE relkind = 'r' AND (relname IN ('work_orders', 'runs', 'steps', 'dataclips', 'journal_counts')
			OR relname LIKE 'log_lines_%')`))[0][0]);
};

test('a project that keeps its data has all that was acknowledged', async () => {
	await over(kept.id);
	await kept.finish();
	options[`project "${kept.id.project}"`] = long;
	await a.reload(options);
	await check(db, kept);
});

test('tables stop growing, and what is killed in the middle leaves nothing by half', async () => {
	const sizes = [];
	for (let round = 0; round < 5; round++) {
		const load = new Load({ url: a.url, id: await runs(db, RUNS) });
		if (round === 2) {
			await load.progress();
			await db.until(`SELECT ${RUNS} - count(*) FROM work_orders WHERE project_id = '${load.id.project}'`, ([[n]]) => Number(n) > 0);
			await a.kill();
			assert.deepEqual(await half(), []);
			a = await Coordinator.start('faults-retention', options, cluster.urls());
			load.url = a.url;
		}
		await over(load.id);
		await load.finish();
		await db.until(`SELECT count(*) FROM work_orders WHERE project_id = '${load.id.project}'`, ([[n]]) => n === '0', 60_000);
		assert.equal(await rows(load.id.project), 0);
		sizes.push(await bytes());
	}
	console.log(`bytes after each round: ${sizes.join(' ')}`);
	assert.ok(sizes[4] < 1.3 * sizes[1], `${sizes[4]} bytes at the end, ${sizes[1]} after two rounds`);
	assert.ok((await a.metric('interlock_pruned_rows_total{table="runs"}')) >= 2 * RUNS);
	assert.equal(await a.untilMetric('interlock_retention_behind_seconds{data="runs"}', (n) => n === 0), 0);
	assert.doesNotMatch(a.logged, /pruning:/);
});

test('what is not yet due is still there, and interlock verify finds nothing wrong', async () => {
	await check(db, kept);
	assert.deepEqual(await half(), []);
	const { INTERLOCK_BIN = 'build/interlock' } = process.env;
	assert.match(execFileSync(INTERLOCK_BIN, ['-c', a.file, 'verify'], { encoding: 'utf8' }), new RegExp(`^${RUNS} runs, .* 0 differences`));
});

await play(200);
