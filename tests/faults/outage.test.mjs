// The database is away for longer than the queue timeout, and its disk is full. What waits too long is
// answered `unavailable`, which means: the outcome is unknown, say it again. All of it is there once
// afterwards. The cluster lies on a small disk of its own where one can be mounted.

import assert from 'node:assert/strict';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fixture } from '../client/db.mjs';
import { Wire, readSecret, workerParams } from '../client/lib.mjs';
import { Coordinator, Held, play, runComplete, runStart, test } from '../wire/stage.mjs';
import { check } from './checker.mjs';
import { Cluster, smallDisk } from './cluster.mjs';
import { Load, runs, stamp } from './load.mjs';

const disk = smallDisk('away', '200m');
const cluster = await Cluster.start('away', disk ? { folder: disk } : {});
const root = await cluster.psql(cluster.root);
// A third segment of the log is the first that needs room.
for (const name of ['max_wal_size', 'min_wal_size']) await root.query(`ALTER SYSTEM SET ${name} = '32MB'`);
await root.query('SELECT pg_reload_conf()');

test('away for longer than the queue_timeout', async () => {
	const options = { database: { queue_timeout: '1500ms' } };
	const a = await Coordinator.start('faults-away', options, cluster.urls());
	let db = await cluster.psql();
	const load = new Load({ url: a.url, id: await runs(db, 2000), workers: 8 });
	const working = await Held.join(a, await fixture(db));
	const ending = await Held.join(a, await fixture(db));
	assert.equal((await ending.say('run:start', runStart({ timestamp: stamp() }))).status, 'ok');
	const [joining, claiming] = [await Held.claim(a, await fixture(db)), await a.worker()];
	await claiming.join('worker:queue', { capacity: 5 });
	await load.progress();

	await cluster.stop();
	const start = runStart({ timestamp: stamp() });
	const complete = runComplete({ timestamp: stamp() });
	const line = { message: ['said in vain'], level: 'info', timestamp: stamp() };
	const claim = { demand: 1, worker_name: null, queues: ['*'] };
	const [started, completed, logged, claimed, closed] = await Promise.all([
		working.say('run:start', start),
		ending.say('run:complete', complete),
		working.say('run:log', line),
		claiming.ask('worker:queue', 'claim', claim),
		joining.worker.closed,
		joining.join().catch(() => {}),
	]);
	for (const { status, response } of [started, completed])
		assert.deepEqual([status, response.code, response.retryable], ['error', 'unavailable', true]);
	assert.equal(logged.status, 'ok');
	assert.deepEqual(logged.response.warnings, { message: ['could not be stored: unavailable'] });
	assert.deepEqual(claimed.response, { runs: [] });
	assert.equal(closed, 1012);
	const params = { ...workerParams(readSecret(process.env.WORKER_SECRET_FILE)), vsn: '2.0.0' };
	assert.equal(await new Wire(a.url, params).status, 503);
	assert.equal((await fetch(`http://${a.address}/readyz`)).status, 503);
	assert.equal((await fetch(`http://${a.address}/healthz`)).status, 200);
	assert.equal(await a.metric('interlock_db_up{lane="write0"}'), 0);
	assert.ok((await a.metric('interlock_socket_closes_total{code="1012"}')) >= 1);

	await cluster.start();
	db = await cluster.psql();
	await load.progress();
	assert.deepEqual((await working.say('run:start', start)).response, {});
	assert.deepEqual((await ending.say('run:complete', complete)).response, {});
	assert.equal((await joining.rejoin(a)).status, 'ok');
	await load.finish();
	await check(db, load, a);
	await a.stop();
});

// Takes all the room that there is.
const fill = (file) => {
	const fd = openSync(file, 'w');
	for (const size of [1 << 20, 1 << 12])
		for (const block = Buffer.alloc(size); ; )
			try {
				writeSync(fd, block);
			} catch (error) {
				assert.equal(error.code, 'ENOSPC');
				break;
			}
	closeSync(fd);
};

const full = async () => {
	const a = await Coordinator.start('faults-disk', {}, cluster.urls());
	let db = await cluster.psql();
	const filler = join(disk, 'filler');
	const load = new Load({ url: a.url, id: await runs(db, 2000), workers: 8, size: 2000 });
	await load.progress();
	let from = a.logged.length;
	fill(filler);
	await a.says(/SQLSTATE 53100/, from);
	rmSync(filler);
	await load.progress();

	// And so full that not even the log can be written: that is a crash.
	fill(filler);
	from = a.logged.length;
	const switching = await cluster.psql(cluster.root);
	const more = () => switching.query('SELECT pg_switch_wal()').then(more, () => {});
	await more();
	await a.says(/write0: /, from);
	rmSync(filler);
	await cluster.stop('immediate').catch(() => {}); // what is left of it
	await cluster.start();
	db = await cluster.psql();
	await load.progress();
	await load.finish();
	await check(db, load, a);
	assert.equal(load.said.filter(({ outcome }) => outcome === 'unknown').length, 0);
	await a.stop();
};

if (disk) test('its disk is full, and so full that it crashes', full);
else console.log('SKIPPED the full disk: a small one cannot be mounted here');

await play();
