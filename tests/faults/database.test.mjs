// The database goes away under load, in each of the ways in which databases do, for less time than the
// workers' time-outs: no connection is closed, and everything is answered once it is back. Meanwhile every
// lease has expired, and no worker is taken for dead.

import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { Coordinator, play, test } from '../wire/stage.mjs';
import { check, faults } from './checker.mjs';
import { Cluster, Wire } from './cluster.mjs';
import { Load, runs } from './load.mjs';

const cluster = await Cluster.start('faults');
const wire = await Wire.to(cluster.port);
const a = await Coordinator.start(
	'faults-database',
	{ janitor: { interval: '10ms' } },
	cluster.urls(wire.port),
);
let db = await cluster.psql();
const load = new Load({ url: a.url, id: await runs(db, 4000) });

const resent = () => a.metric('interlock_resent_messages_total');

// The fault in the middle of the load; then everything said is held against the database.
const across = (name, fault) =>
	test(name, async () => {
		await load.progress();
		await fault();
		db = await cluster.psql();
		await load.progress();
		await load.hold();
		await check(db, load, a);
		load.release();
	});

test('the checker sees what is missing, too much, changed or out of order', async () => {
	await load.progress();
	await load.hold();
	await check(db, load, a);
	const project = `project_id = '${load.id.project}'`;
	const one = (table, more = '') => `(SELECT ctid FROM ${table} WHERE ${project} ${more} LIMIT 1)`;
	const tampered = {
		'missing: run:log|missing: run:batch_logs|stored by half': `DELETE FROM log_lines WHERE ctid = ${one('log_lines')}`,
		'stored 2 times': `INSERT INTO log_lines SELECT project_id, run_id, interlock_uuid(), step_id, level,
			source, message, timestamp FROM log_lines WHERE ctid = ${one('log_lines')}`,
		'missing: step:complete': `UPDATE dataclips SET body = '{}' WHERE ctid = ${one('dataclips', "AND type = 'step_result'")}`,
		'missing: run:complete': `UPDATE runs SET finished_at = now() WHERE ctid = ${one('runs', "AND state = 'success'")}`,
		'a step is open in a final run': `UPDATE steps SET exit_reason = NULL, finished_at = NULL WHERE ctid =
			${one('steps', `AND run_id IN (SELECT id FROM runs WHERE state = 'success')`)}`,
		'out of order': `UPDATE transitions t SET id = 1000000000 - id WHERE ${project}`,
		'a work order does not follow': `UPDATE work_orders SET state = 'lost' WHERE ctid = ${one('work_orders')}`,
		'in_flight is not': `DELETE FROM in_flight WHERE ctid = ${one('in_flight')}`,
	};
	for (const [fault, sql] of Object.entries(tampered)) {
		await db.query('BEGIN');
		await db.query(sql);
		const found = await faults(db, load);
		await db.query('ROLLBACK');
		assert.match(found.join('\n'), new RegExp(fault), fault);
	}
	load.release();
});

across('a backend is killed, and all of them restart', async () => {
	const [[pid]] = await db.query(`SELECT pid FROM pg_stat_activity
		WHERE application_name = 'interlockd' ORDER BY state_change DESC LIMIT 1`);
	process.kill(Number(pid), 'SIGKILL');
	// Until then a new session would be ended with the others.
	while (await db.query('SELECT 1').then(() => true, () => false));
});

across('it crashes, and the leases have run out', async () => {
	await db.query('BEGIN');
	await db.query('SELECT id FROM work_orders ORDER BY project_id, id FOR NO KEY UPDATE');
	await db.query("UPDATE runs SET lease_expires_at = now() - interval '1min'");
	await db.query('COMMIT');
	await cluster.restart('immediate');
});

across('it is restarted, as planned', () => cluster.restart('fast'));

across('too many connections are there when it comes back', async () => {
	const root = await cluster.psql(cluster.root);
	const from = a.logged.length;
	await root.query('ALTER ROLE interlock CONNECTION LIMIT 3'); // of the six that it needs
	await root.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'interlock'");
	await a.says(/too many connections/, from);
	assert.equal((await fetch(`http://${a.address}/readyz`)).status, 503);
	await root.query('ALTER ROLE interlock CONNECTION LIMIT -1');
});

across('the network is cut: nothing passes, then it is reset, and the database notices that later', async () => {
	wire.freeze();
	await pause(1500);
	await wire.cut(pause(1000));
});

across('every connection is reset', () => wire.cut());

test('no connection was closed, nothing waits, and messages were sent again', async () => {
	await load.finish();
	await check(db, load, a);
	assert.equal(load.said.filter(({ outcome }) => outcome === 'unknown').length, 0);
	assert.deepEqual(load.lines.flatMap(({ closes }) => closes), []);
	assert.ok((await resent()) > 0);
	// Once each: the daemon itself asks something now and then.
	for (const lane of ['write0', 'write1', 'read', 'claim', 'body'])
		assert.equal(await a.untilMetric(`interlock_queued_messages{lane="${lane}"}`, (n) => n === 0), 0, lane);
	assert.ok((await a.metric('interlock_db_connects_total{lane="write0"}')) >= 6);
});

await play();
