// Whatever is in the tables, and whether PostgreSQL has counted it or not, a statement is executed in one way: by
// the same nodes and indexes in the same order. The daemon's own statements under its own settings, by their
// generic plans. And what a claim touches does not grow with what waits, nor with what is over.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { Database, fixture } from '../client/db.mjs';
import * as stage from './stage.mjs';
import { Coordinator, test } from './stage.mjs';

const MANY = 5_000;
const { STATEMENT_BIN } = process.env;
const said = (...args) => execFileSync(STATEMENT_BIN, args, { encoding: 'utf8' });

const urls = await stage.newDatabase('plans');
await (await Coordinator.start('plans', {}, urls)).stop(); // it has brought the schema
const db = new Database(urls.migrate_url); // as the daemon has it
const other = new Database(urls.migrate_url);
for (const [, name, value] of said('--settings').matchAll(/-c (\w+)=(\S+)/g))
	await db.query(`SET ${name} = '${value}'`);

// What the daemon prepares; what a parameter is does not matter to a generic plan.
const prepare = async (name) => {
	const file = execFileSync('awk', ['-v', 'fragments=sql/fragments', '-f', 'src/embed.awk', `sql/statements/${name}.sql`],
		{ encoding: 'utf8' });
	const n = Math.max(0, ...[...file.matchAll(/\$(\d+)/g)].map(([, i]) => Number(i)));
	const text = said(name, ...Array.from({ length: n }, (_, i) => `$${i + 1}`));
	await db.query(`PREPARE ${name} AS ${text.replace(/ARRAY\[(\$\d+)\](?=::)/g, '$1')}`);
	return n ? `${name} (${Array(n).fill('NULL')})` : name;
};
const statements = {};
for (const name of ['claim', 'claims_lock', 'sweep_find', 'sweep_lock', 'sweep_take', 'sample', 'waiting_count',
	'settle', 'sweep_wipes_find', 'sweep_wipe_inputs'])
	statements[name] = await prepare(name);

const id = await fixture(other);
// So many more wait, and as many are in flight if `flying`.
const fill = async (n, flying = true) => {
	await other.query(`INSERT INTO runs (project_id, id, work_order_id, workflow_id, snapshot_id, starting_node_id)
		SELECT project_id, gen_random_uuid(), work_order_id, workflow_id, snapshot_id, starting_node_id
		FROM runs CROSS JOIN generate_series(1, ${n}) WHERE id = '${id.run}'`);
	if (flying)
		await other.query(`WITH fresh AS (
				INSERT INTO runs (project_id, id, work_order_id, workflow_id, snapshot_id, starting_node_id,
					state, claimed_at, deadline_at)
				SELECT project_id, gen_random_uuid(), work_order_id, workflow_id, snapshot_id, starting_node_id,
					'claimed', now(), now() + interval '1 h'
				FROM runs CROSS JOIN generate_series(1, ${n}) WHERE id = '${id.run}'
				RETURNING *)
			INSERT INTO in_flight SELECT project_id, workflow_id, id FROM fresh`);
};
const tables = 'waiting, in_flight, runs, work_orders, workflows, projects, turns';

// What is asked of every statement, one moment after another.
const moments = {
	'with nothing there': () => {},
	'with ten': () => fill(10),
	'with ten, after ANALYZE': () => other.query(`ANALYZE ${tables}`),
	'with thousands': () => fill(MANY),
	...Object.fromEntries(tables.split(', ').map((table) =>
		[`after ANALYZE ${table}`, () => other.query(`ANALYZE ${table}`)])),
	'after ANALYZE': () => other.query(`ANALYZE ${tables}`),
	'after most of it is gone': () => other.query(`DELETE FROM waiting WHERE seq % 1000 <> 0`),
	'after ANALYZE again': () => other.query(`ANALYZE ${tables}`),
	'after VACUUM': () => other.query(`VACUUM ${tables}`),
};

// A plan in words: the nodes, each with its index or table, indented as they hang together. Whether what a LIMIT
// has let through is grouped by sorting or by hashing is all the same.
const words = (plan, depth = 0) => {
	const { 'Node Type': node, 'Index Name': index, 'Relation Name': table, 'CTE Name': cte, Plans: below = [] } = plan;
	if (node === 'Sort') return below.flatMap((each) => words(each, depth));
	const line = [' '.repeat(depth) + node, index ?? table ?? cte ?? ''].join(' ');
	return [line, ...below.flatMap((each) => words(each, depth + 1))];
};
const planOf = async (execute) => {
	const rows = await db.query(`EXPLAIN (FORMAT JSON) EXECUTE ${execute}`);
	const [{ Plan }] = JSON.parse(rows.map((row) => row.join('|')).join('\n'));
	return words(Plan);
};

test('there is one way to execute a claim or a sweep, and none of them reads a table', async () => {
	const first = new Map();
	const wrong = [];
	for (const [moment, bring] of Object.entries(moments)) {
		await bring();
		await db.query('DISCARD PLANS');
		for (const [name, execute] of Object.entries(statements)) {
			const plan = await planOf(execute);
			if (!first.has(name)) first.set(name, plan);
			const is = plan.join('\n'), was = first.get(name).join('\n');
			if (is !== was) wrong.push(`${name} ${moment}:`,
				`\n${is}\nwas\n${was}\n`);
			if (is.includes('Seq Scan')) wrong.push(`${name} ${moment} reads a table`);
		}
	}
	assert.ok(!wrong.length, wrong.join('\n'));
});

// A statement locks every partition of a table that it reads from, however few it looks into.
test('no message that is not about log lines locks a partition of the log', async () => {
	const join = await prepare('run_join');
	await db.query('BEGIN');
	await db.query(`EXECUTE ${join}`);
	const locked = await db.query(`SELECT relation::regclass FROM pg_locks
		WHERE pid = pg_backend_pid() AND relation::regclass::text LIKE 'log_lines%'`);
	await db.query('ROLLBACK');
	assert.deepEqual(locked, []);
});

// The pages that a claim of five runs touches, once everything has been touched before.
const pages = async () => {
	const execute = `EXECUTE claim (ARRAY[5], ARRAY['w'], E'manual\\x1f*', 300000, 10000, 90000)`;
	let n;
	for (let i = 0; i < 3; i++) {
		await db.query('BEGIN');
		const rows = await db.query(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${execute}`);
		await db.query('ROLLBACK');
		const [{ Plan }] = JSON.parse(rows.map((row) => row.join('|')).join('\n'));
		assert.equal(Plan['Actual Rows'], 5);
		n = Plan['Shared Hit Blocks'] + Plan['Shared Read Blocks'];
	}
	return n;
};

test('a claim touches no more pages while twenty thousand wait than while twenty do', async () => {
	await other.query('DELETE FROM in_flight');
	await other.query('DELETE FROM waiting WHERE seq NOT IN (SELECT seq FROM waiting ORDER BY seq LIMIT 20)');
	await other.query('VACUUM waiting, in_flight');
	const few = await pages();
	await fill(20_000, false);
	const many = await pages();
	await other.query('ANALYZE');
	const analyzed = await pages();
	console.log(`${few} pages while few wait, ${many} while many do, ${analyzed} after ANALYZE`);
	assert.ok(Math.max(many, analyzed) < 1.5 * few + 20);
});

await stage.play();
