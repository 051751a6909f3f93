// The claim and the janitor's search under the daemon's own settings, by their generic plans: with ten runs
// waiting and in flight and with ten thousand, before ANALYZE and after it, neither reads a whole table, and the
// claim counts what is in flight within the index, where the count ends at the limit.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { dirname } from 'node:path';
import { Database, fixture } from '../client/db.mjs';
import * as stage from './stage.mjs';
import { Coordinator, test } from './stage.mjs';

const MANY = 10_000;
const { INTERLOCK_BIN = 'build/interlock' } = process.env;
const tool = `${dirname(INTERLOCK_BIN)}/bench/statement`;
execFileSync('make', ['-s', ...(tool.includes('/san/') ? ['SAN=1'] : []), tool], { stdio: 'ignore' });
const said = (...args) => execFileSync(tool, args, { encoding: 'utf8' });

const urls = await stage.newDatabase('plans');
await (await Coordinator.start('plans', {}, urls)).stop(); // it has brought the schema
const db = new Database(urls.migrate_url); // as the daemon has it
const other = new Database(urls.migrate_url);
for (const [, name, value] of said('--settings').matchAll(/-c (\w+)=(\S+)/g))
	await db.query(`SET ${name} = '${value}'`);

// What the daemon prepares, and parameters for it.
const prepare = async (name, types, values) => {
	const text = said(name, ...types.map((_, i) => `$${i + 1}`));
	await db.query(`PREPARE ${name} (${types}) AS ${text.replace(/ARRAY\[(\$\d+)\]/g, '$1')}`);
	return `EXPLAIN (FORMAT JSON) EXECUTE ${name} (${values})`;
};
const statements = {
	claim: await prepare(
		'claim',
		['int[]', 'text[]', 'text', 'int', 'bigint', 'bigint'],
		["ARRAY[5]", "ARRAY['w']", "E'manual\\x1f*'", 300000, 10000, 90000],
	),
	sweep_find: await prepare(
		'sweep_find',
		['bigint', 'bigint', 'boolean', 'text', 'int', 'bigint', 'bigint', 'bigint'],
		[0, 30000, true, "'lost'", 2, 0, 0, 8192],
	),
	waiting_count: await prepare('waiting_count', ['bigint'], [10]),
};

const id = await fixture(other);
// So many wait, as many are in flight.
const fill = async (n) => {
	await other.query(`INSERT INTO runs (project_id, id, work_order_id, workflow_id, snapshot_id, starting_node_id)
		SELECT project_id, gen_random_uuid(), work_order_id, workflow_id, snapshot_id, starting_node_id
		FROM runs CROSS JOIN generate_series(1, ${2 * n}) WHERE id = '${id.run}'`);
	await other.query(`WITH taken AS (DELETE FROM waiting w USING (SELECT * FROM waiting ORDER BY seq LIMIT ${n}) o
			WHERE w.seq = o.seq RETURNING w.*)
		INSERT INTO in_flight SELECT project_id, workflow_id, run_id FROM taken`);
	await other.query(`UPDATE runs r SET state = 'claimed', claimed_at = now(), deadline_at = now() + interval '1 h'
		FROM in_flight f WHERE r.project_id = f.project_id AND r.id = f.run_id`);
};
const tables = 'waiting, in_flight, runs, work_orders, workflows, projects, turns';

// What is asked of every statement, one moment after another.
const moments = {
	'with nothing there': () => {},
	'with ten': () => fill(10),
	'with ten thousand': () => fill(MANY),
	'after ANALYZE': () => other.query(`ANALYZE ${tables}`),
	'after most of it is gone': () => other.query(`DELETE FROM waiting WHERE seq % 1000 <> 0`),
	'after ANALYZE again': () => other.query(`ANALYZE ${tables}`),
	'after VACUUM': () => other.query(`VACUUM ${tables}`),
};

function* nodesOf(plan) {
	yield plan;
	for (const each of plan.Plans ?? []) yield* nodesOf(each);
}

test('whatever is in the tables, none is read whole, and what is in flight is counted within its index', async () => {
	const wrong = [];
	for (const [moment, bring] of Object.entries(moments)) {
		await bring();
		await db.query('DISCARD PLANS');
		for (const [name, explain] of Object.entries(statements)) {
			const [{ Plan }] = JSON.parse((await db.query(explain)).map((row) => row.join('|')).join('\n'));
			for (const { 'Node Type': node, 'Relation Name': table, 'Index Name': index } of nodesOf(Plan)) {
				const counts = name === 'claim' && (index ?? table)?.startsWith('in_flight');
				const fine = !counts || node === 'Index Only Scan' || node === 'ModifyTable';
				if (node === 'Seq Scan' || !fine) wrong.push(`${name} ${moment}: ${node} of ${index ?? table}`);
			}
		}
	}
	assert.deepEqual(wrong, []);
	const counts = await other.query('SELECT (SELECT count(*) FROM in_flight), (SELECT count(*) FROM runs)');
	assert.deepEqual(counts, [[String(MANY + 10), String(2 * MANY + 21)]]);
});

await stage.play(120);
