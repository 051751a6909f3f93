// Two hosts in the conninfo, the read-only standby first. The primary dies under load, the standby is
// promoted: the work goes on there, and all that was acknowledged is in it, for the primary had
// waited for it.

import assert from 'node:assert/strict';
import { Coordinator, play, test } from '../wire/stage.mjs';
import { check } from './checker.mjs';
import { Cluster } from './cluster.mjs';
import { Load, runs } from './load.mjs';

const primary = await Cluster.start('failover');
const standby = await primary.standby();
const root = await primary.psql(primary.root);
await root.query("ALTER SYSTEM SET synchronous_standby_names = '*'");
await root.query('SELECT pg_reload_conf()');
await root.until('SELECT sync_state FROM pg_stat_replication', ([row]) => row?.[0] === 'sync');

const both = `postgresql://interlock@127.0.0.1:${standby.port},127.0.0.1:${primary.port}/interlock`;
const a = await Coordinator.start('faults-failover', {}, { ...primary.urls(), url: both });
const load = new Load({ url: a.url, id: await runs(await primary.psql(), 2000) });

test('the standby is not taken for the database, though it stands first', async () => {
	await load.progress();
	assert.match(a.logged, new RegExp(`connected to \\S+ port ${primary.port}`));
	assert.doesNotMatch(a.logged, new RegExp(`connected to \\S+ port ${standby.port}`));
	await load.hold();
	await check(await primary.psql(), load);
	load.release();
});

test('the primary dies, the standby is promoted: nothing acknowledged is missing there', async () => {
	await load.progress();
	await primary.stop('immediate');
	await standby.promote();
	const db = await standby.psql();
	await load.progress();
	await load.finish();
	await check(db, load, a);
	assert.match(a.logged, new RegExp(`connected to \\S+ port ${standby.port}`));
	assert.equal(load.said.filter(({ outcome }) => outcome === 'unknown').length, 0);
	assert.deepEqual(load.lines.flatMap(({ closes }) => closes), []);
});

await play();
