// The database's clock steps forward by an hour, with runs in flight. No run is lost for it: not by the
// sweep that follows at once, not when deadlines are enforced again, not when leases are. Runs that were
// claimed before keep their time, runs that were claimed after it are treated as always.

import assert from 'node:assert/strict';
import { copyFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fixture } from '../../client/db.mjs';
import { Coordinator, Held, runComplete, runStart, test } from '../../wire/stage.mjs';
import { Cluster, newFolder } from '../cluster.mjs';
import { runs } from '../load.mjs';
import { INTERVAL, alter, hold, journal, enforces, lost, options, runOnce, sayAll, states } from './lib.mjs';
import { faketime } from './tools.mjs';

const HOUR = 3600;

// The clock is a file that says by how much it is off; the library stands where the cluster's user can read it.
const folder = newFolder('clock');
const clock = join(folder, 'offset');
const set = (seconds) => {
	writeFileSync(`${clock}.new`, `+${seconds}\n`);
	renameSync(`${clock}.new`, clock);
};

test('the database’s clock steps forward by an hour', async () => {
	set(0);
	const { LD_PRELOAD, ...env } = faketime(null, clock);
	const library = join(folder, 'libfaketime.so.1');
	copyFileSync(LD_PRELOAD, library);
	const cluster = await Cluster.start('clock', { folder, env: { ...env, LD_PRELOAD: library } });
	const coordinator = await Coordinator.start('clock', options(), cluster.urls());
	const db = await cluster.psql();
	const id = await runs(db, 20);
	const helds = await hold(coordinator, id, 20);
	await sayAll(helds.slice(0, 10), 'run:start', runStart);

	await enforces(coordinator, 'deadline');
	const overdue = await Held.join(coordinator, await fixture(db));
	await alter(db, 'deadline_at = clock_timestamp()', `id = '${overdue.id.run}'`);
	await runOnce(db, overdue.id.run, lost);
	const ahead = async () => {
		const [[now]] = await db.query('SELECT extract(epoch FROM clock_timestamp())');
		return Number(now) - Date.now() / 1000;
	};
	assert.ok(Math.abs(await ahead()) < 5);

	set(HOUR);
	assert.ok(Math.abs((await ahead()) - HOUR) < 5, 'it stepped');
	const [, by] = await coordinator.says(/clock stepped forward by (\d+) s/);
	assert.ok(Math.abs(Number(by) - HOUR) < 10);
	assert.equal(await coordinator.metric('interlock_janitor_active{clock="deadline"}'), 0);
	await pause(INTERVAL * 3000);
	assert.deepEqual(await states(db, id.project), { claimed: 10, started: 10 });

	// Those that come after the step are taken after the grace period; those before it are not.
	const after = await Held.join(coordinator, await fixture(db));
	await alter(db, "deadline_at = clock_timestamp() + interval '1 s'", `id = '${after.id.run}'`);
	await runOnce(db, after.id.run, lost, 60_000);
	await enforces(coordinator, 'lease');
	await pause(INTERVAL * 3000);
	assert.deepEqual(await states(db, id.project), { claimed: 10, started: 10 });

	// They are not safe forever: the deadline of one is moved back by as much as it had left.
	const [late, ...others] = helds;
	await alter(db, `deadline_at = clock_timestamp() - interval '${HOUR + 20} s'`, `id = '${late.id.run}'`);
	await runOnce(db, late.id.run, lost);
	await sayAll(others, 'run:complete', runComplete);
	assert.deepEqual(await states(db, id.project), { lost: 1, success: 19 });
	assert.equal((await journal(db, id.project))['run:complete accepted'], 19);

	// A line goes to the database's day, and the reply says which id it got there.
	set(20 * 24 * HOUR);
	await db.query('SELECT interlock_make_partitions()');
	const { response } = await others[0].say('run:log', { message: ['far'] });
	assert.deepEqual(await db.query(`SELECT id, id >= interlock_uuid_at(now() - interval '1 d') FROM log_lines
		WHERE run_id = '${others[0].id.run}'`), [[response.log_line_id, 't']]);
});
