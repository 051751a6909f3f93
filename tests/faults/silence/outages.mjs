// The only coordinator is away, the database is away, one of two coordinators dies: for three leases, by the
// database's clock. Every worker comes back, and no run is lost but that of the one that does not.

import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { Database } from '../../client/db.mjs';
import { Coordinator, newDatabase, runComplete, runStart, test } from '../../wire/stage.mjs';
import { Wire } from '../cluster.mjs';
import { runs } from '../load.mjs';
import { LEASE, alter, comeBack, hold, journal, enforces, lost, options, runOnce, sayAll, stageFor, states } from './lib.mjs';

const PASSED = `lease_expires_at = now() - interval '${2 * LEASE} s'`;

// So many workers with so many runs each, and one more that never comes back.
const holdAll = async (coordinator, db, workers, each) => {
	const id = await runs(db, workers * each + 1);
	const groups = [];
	for (let i = 0; i < workers; i++) groups.push(await hold(coordinator, id, each));
	const [canary] = await hold(coordinator, id, 1, { beats: false });
	return { id, groups, canary };
};

// `done` have been completed already.
const completeAll = async (db, { id, groups }, done = 0) => {
	for (const helds of groups) await sayAll(helds, 'run:complete', runComplete);
	const all = groups.flat().length + done;
	assert.deepEqual(await states(db, id.project), { lost: 1, success: all });
	const rows = await journal(db, id.project);
	assert.deepEqual([rows['lost accepted'], rows['run:complete accepted']], [1, all]);
	assert.equal(rows['phx_join revived'], undefined);
};

test('the only coordinator is away for three leases with 500 runs in flight', async () => {
	const { urls, db, coordinators: [first] } = await stageFor('alone', ['alone']);
	const load = await holdAll(first, db, 25, 20);
	await first.kill();
	await alter(db, PASSED, "state IN ('claimed', 'started')");
	const again = await Coordinator.start('alone', options(), urls);
	for (const helds of load.groups) await comeBack(helds, again);
	await enforces(again, 'lease');
	await runOnce(db, load.canary.id.run, lost);
	await completeAll(db, load);
});

test('the database is away for three leases with 500 runs in flight', async () => {
	const urls = await newDatabase('cutoff');
	const [, port] = urls.url.match(/port=(\d+)/);
	const [, base] = urls.url.match(/@\/(\w+)/);
	const wire = await Wire.to(port);
	const url = `postgresql://interlock@127.0.0.1:${wire.port}/${base}`;
	const cutoff = await Coordinator.start('cutoff', options(), { ...urls, url });
	const db = new Database(urls.migrate_url);
	const load = await holdAll(cutoff, db, 25, 20);
	load.canary.worker.cut();
	const [starters, finishers, ...others] = load.groups;

	wire.freeze();
	const begun = [sayAll(starters, 'run:start', runStart), sayAll(finishers, 'run:complete', runComplete)];
	await alter(db, PASSED, "state IN ('claimed', 'started')");
	await alter(db, 'deadline_at = now()', `id IN (${finishers.map(({ id }) => `'${id.run}'`)})`);
	await pause(3000);
	await wire.cut();
	await Promise.all(begun);
	const back = Date.now();
	load.groups = [starters, ...others];

	await enforces(cutoff, 'lease');
	const waited = (Date.now() - back) / 1000;
	assert.ok(waited > LEASE - 5, `leases wait for one lease, not for ${waited} s`);
	const { lost_at } = await runOnce(db, load.canary.id.run, lost);
	assert.ok((lost_at - back) / 1000 > LEASE - 5);
	assert.ok((await cutoff.metric('interlock_resent_messages_total')) > 0);
	await completeAll(db, load, finishers.length);
});

test('a coordinator is killed with 1,000 joined runs', async () => {
	const { urls, db, coordinators: [a, b] } = await stageFor('twin', ['twin-a', 'twin-b']);
	const load = await holdAll(a, db, 50, 20);
	await enforces(b, 'lease');
	await a.kill();
	// Whoever does not come back soon is lost: the other one's janitor goes on.
	await alter(db, "lease_expires_at = clock_timestamp() + interval '20 s'", "state IN ('claimed', 'started')");
	const again = await Coordinator.start('twin-a', options(), urls);
	await Promise.all(load.groups.map((helds, i) => comeBack(helds, i % 2 ? again : b)));
	await runOnce(db, load.canary.id.run, lost, 30_000);
	await completeAll(db, load);
});

test('a backend of the janitor that hangs is given up after a minute; workers do not notice', async () => {
	const { urls, db, coordinators: [hung] } = await stageFor('hung', ['hung']);
	const root = new Database(urls.admin_url);
	// Between two sweeps the last thing it asked is the clock.
	const sweeping = `SELECT pid FROM pg_stat_activity WHERE datname = current_database()
		AND application_name = 'interlockd' AND query ~ 'clock_timestamp..\\) [*] 1000000\\)::bigint AS now_us\\s*$'`;
	const [[pid]] = await root.until(`${sweeping} AND state = 'idle'`, (rows) => rows.length === 1);
	process.kill(Number(pid), 'SIGSTOP');
	try {
		const load = await hold(hung, await runs(db, 10), 10);
		await sayAll(load, 'run:start', runStart);
		const others = await root.until(`${sweeping} AND pid <> ${pid}`, (rows) => rows.length > 0, 90_000);
		assert.equal(others.length, 1);
		await hung.says(/janitor: .*no answer from the database/);
		await sayAll(load, 'run:complete', runComplete);
	} finally {
		process.kill(Number(pid), 'SIGCONT');
	}
});
