// Two versions of the daemon on one schema: it is migrated first, a daemon goes on and another starts on it,
// until a migration says that it does not serve them any more. And a migration lets no message wait.

import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { Database, fixture } from '../client/db.mjs';
import { check } from '../faults/checker.mjs';
import { Load, runs } from '../faults/load.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, test } from './stage.mjs';

const { INTERLOCKD_BIN } = process.env;
const nextBuild = (program) => join(dirname(INTERLOCKD_BIN), 'next', program);
const urls = await stage.newDatabase('upgrade');
const db = new Database(urls.migrate_url);
const a = await Coordinator.start('upgrade-a', {}, urls);
const held = await Held.join(a, await fixture(db));
const [[newest]] = await db.query('SELECT max(version) FROM schema_migrations');
const next = Number(newest) + 1;
const NEXT = String(next).padStart(3, '0');

// Makes it connect, and ask for the version, again; resolves when it has logged that.
const root = new Database(urls.admin_url);
const reconnect = async (...says) => {
	const from = a.logged.length;
	await root.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND usename = 'interlock'`);
	for (const pattern of says) await a.says(pattern, from);
};

test('a schema of the next version serves this one', async () => {
	await db.query(`BEGIN; ALTER TABLE work_orders ADD COLUMN of_the_future int; CREATE TABLE future (n int);
		INSERT INTO schema_migrations (version, name) VALUES (${next}, 'next'); COMMIT`);
	await reconnect(/not ready/, /msg="ready"/);
	assert.equal((await held.say('run:start', stage.runStart())).status, 'ok');
	const b = await Coordinator.start('upgrade-b', { database: { url: urls.url, migrate_url: urls.migrate_url } });
	const other = await Held.join(b, await fixture(db));
	assert.equal((await other.say('run:complete', stage.runComplete())).status, 'ok');
	await b.stop();
	assert.equal((await held.say('run:complete', stage.runComplete())).status, 'ok');
});

test('one that says that it does not is refused', async () => {
	await db.query(`UPDATE schema_migrations SET serves = ${next}`);
	await reconnect(/not ready: .*which serves builds for version/);
	const ready = await fetch(`http://${a.address}/readyz`);
	assert.equal(ready.status, 503);
	assert.match(await ready.text(), /install the newer interlock/);
	const { status, stderr } = spawnSync(INTERLOCKD_BIN, ['-c', a.file], { encoding: 'utf8', timeout: 20_000 });
	assert.equal(status, 1);
	assert.match(stderr, /install the newer interlock/);
	await db.query('UPDATE schema_migrations SET serves = 0');
	await db.query(`DELETE FROM schema_migrations WHERE version = ${next}`);
});

test('a migration that finds its table locked lets go, tries again, and is done', async () => {
	await a.stop();
	const holder = new Database(urls.migrate_url);
	await holder.query('BEGIN');
	await holder.query('LOCK TABLE runs IN ROW EXCLUSIVE MODE');
	const migration = promisify(execFile)(nextBuild('interlock'), ['-c', a.file, 'migrate']);
	const waits = `SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'runs'::regclass`;
	const times = (n) => ([[is]]) => Number(is) === n;
	assert.ok(times(1)(await db.until(waits, times(1))), 'it waits');
	assert.ok(times(0)(await db.until(waits, times(0))), 'and lets go');
	await holder.query('COMMIT');
	assert.match((await migration).stdout, new RegExp(`applied ${NEXT}_next`));
});

test('two builds on one schema: a load goes from the one to the next while the schema is migrated', async () => {
	const { admin_url, ...database } = await stage.newDatabase('rolling');
	const base = new Database(database.migrate_url);
	const old = await Coordinator.start('upgrade-old', {}, database);
	const id = await runs(base, 1500);
	const load = new Load({ url: old.url, id, workers: 8 });
	// However much of it was done meanwhile, more waits than is awaited.
	const progress = async () => {
		await base.query(`SELECT interlock_enqueue('${id.workflow}', '{}', queue => '${id.queue}') FROM generate_series(1, 100)`);
		await load.progress();
	};
	await progress();
	const early = spawnSync(nextBuild('interlock'), ['-c', old.file, 'runs'], { encoding: 'utf8', timeout: 20_000 });
	assert.match(early.stderr, new RegExp(`has schema version ${newest} and this build needs ${next}: run .interlock migrate.`));
	const migrate = await promisify(execFile)(nextBuild('interlock'), ['-c', old.file, 'migrate']);
	assert.match(migrate.stdout, new RegExp(`applied ${NEXT}_next`));
	await progress();
	const young = await Coordinator.start('upgrade-next', { database }, null, [], nextBuild('interlockd'));
	const build = async ({ address }) => (await (await fetch(`http://${address}/metrics`)).text()).match(/^interlock_build_info.*$/m)[0];
	assert.match(await build(young), new RegExp(`version=".*\\+next",schema="${next}"`));
	assert.doesNotMatch(await build(old), new RegExp(`next|schema="${next}"`));
	load.url = young.url;
	// Half of the workers go over: both builds are at work.
	await Promise.all(load.lines.slice(0, 4).map((line) => line.cut()));
	await progress();
	assert.ok((await old.metric('interlock_sockets')) >= 4 && (await young.metric('interlock_sockets')) >= 1);
	await old.stop();
	for (const { closes } of load.lines.slice(4)) assert.deepEqual(closes, [1001]);
	await progress();
	await load.finish();
	await check(base, load);
	await young.stop();
	base.close();
});

await stage.play();
