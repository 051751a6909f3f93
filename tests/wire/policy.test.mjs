// `interlock policy`: what is in force; what other options would have made of the losses of simulated fleets whose
// truth is known (workers that die, that stall, whose network is cut); and the advice, against a sweep over the options.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import * as stage from './stage.mjs';
import { Coordinator, db, given, test } from './stage.mjs';

const { INTERLOCK_BIN = 'build/interlock', INTERLOCKD_BIN = 'build/interlockd' } = process.env;
const a = await Coordinator.start('policy-a', { lost: { lease: '90s', grace: '10s' } });

const run = (program, ...words) =>
	new Promise((resolve) => {
		execFile(program, words, (error, out, err) => resolve({ status: error?.code ?? 0, out, err }));
	});
const policy = (...words) => run(INTERLOCK_BIN, '-c', a.file, 'policy', ...words);
const ask = async (...words) => JSON.parse((await policy(...words, '--json')).out);

// -- fleets -----------------------------------------------------------------------------------------

const LEASE = 90, GRACE = 10, TIMEOUT = 600, DELAY = 2;

// Each worker renewed the lease of its run for the last time a few hours ago, at 0 here; then it `back` again at that
// second (null: never), and reported the result at `done`. What the journal has of that under a lease of 90 s.
const fleet = async (workers, policy = 'acknowledge') => {
	const id = await given();
	const rows = await db.query(`SELECT (interlock_enqueue('${id.workflow}', queue => '${id.queue}')).run_id
		FROM generate_series(1, ${workers.length})`);
	await db.query(`DELETE FROM waiting WHERE project_id = '${id.project}'`);
	await db.query(`UPDATE runs SET claimed_at = now() - interval '3h 100s' WHERE project_id = '${id.project}'`);
	const values = [];
	const add = (run, at, event, outcome, from, to, code, lateness, message) =>
		values.push(`('${id.project}', '${run}', 1, ${`now() - interval '3h' + interval '${at}s'`}, '${event}', '${outcome}',
			'${from}', '${to}', ${code ? `'${code}'` : 'NULL'}, 1, ${lateness === null ? 'NULL' : `interval '${lateness}s'`},
			${message ?? 'NULL'})`);
	workers.forEach(({ back, done, clock = 'lease' }, i) => {
		const [run] = rows[i];
		const time = (seconds) => `now() - interval '3h' + interval '${seconds}s'`;
		const expired = clock === 'lease' ? LEASE : TIMEOUT + GRACE;
		const lost = back === null || back > LEASE || clock === 'deadline';
		if (lost)
			add(run, expired + DELAY, 'lost', 'accepted', 'started', 'lost', clock, DELAY, `json_build_object('active_at', ${time(0)},
				'deadline_at', ${time(TIMEOUT + GRACE)}, 'lease_expires_at', ${time(clock === 'lease' ? LEASE : TIMEOUT + LEASE)},
				'lease_s', ${LEASE}, 'grace_s', ${GRACE})::text`);
		else add(run, 1, 'disconnect', 'noted', 'started', 'started', 'connection_broken', null, `json_build_object('active_at', ${time(0)})::text`);
		if (back === null) return;
		if (clock === 'lease') add(run, back, 'phx_join', 'noted', lost ? 'lost' : 'started', lost ? 'lost' : 'started', null, null);
		if (done && lost) add(run, done, 'run:complete', policy === 'reject' ? 'refused' : 'too_late', 'lost', 'lost', null, done - expired - DELAY);
	});
	await db.query(`INSERT INTO transitions (project_id, run_id, revision, at, event, outcome, from_state, to_state, code, epoch,
		lateness, message) VALUES ${values.join(',')}`);
	return id;
};
const many = (n, worker) => Array.from({ length: n }, (_, i) => worker(i / n, i));
const dead = { back: null };

// -- what is in force -------------------------------------------------------------------------------

test('the policy in words, by project, and which coordinators have it', async () => {
	const id = await given();
	await a.reload({ lost: { lease: '90s' }, [`project "${id.project}"`]: { late_completion: 'reject' } });
	await db.until(`SELECT count(*) FROM coordinators WHERE name = 'policy-a' AND seen_at > now() - interval '1 minute'`, ([[n]]) => n === '1');
	const { status, out } = await policy();
	assert.equal(status, 0);
	assert.deepEqual(out.split('\n').filter((line) => [...line].length > 80), []);
	const text = out.replace(/\s+/g, ' ');
	assert.match(text, /A run is lost when its worker is silent for 90s \(lease\), or when it takes longer than its time-out \(5m, .*\) and 10s \(grace\)\./);
	assert.match(text, /In all projects but those below what a worker reports about a lost run is applied for 1h after the loss/);
	assert.match(text, new RegExp(`In project ${id.project} what a worker reports about a lost run is refused`));
	const json = await ask();
	assert.deepEqual([json.lease_ms, json.grace_ms, json.projects], [90000, 10000, [{ project: id.project, late_completion: 'reject' }]]);
	assert.ok(json.coordinators.some(({ coordinator }) => coordinator === 'policy-a'));
	await a.reload({ lost: { lease: '90s' } });
});

// -- what if ----------------------------------------------------------------------------------------

test('what if: which losses would not have been, which results would count, what it costs', async () => {
	const id = await fleet([
		...many(7, () => ({ back: 110, done: 130 })), // would have been heard within 120 s
		...many(4, () => ({ back: 200, done: 220 })), // not so; reported 98 s after the loss at 122 s
		...many(2, () => ({ back: 200, done: 6000 })), // after the window
		...many(3, () => ({ back: 200 })), // nothing
		...many(5, () => dead),
		...many(6, () => ({ clock: 'deadline', back: TIMEOUT + 25, done: TIMEOUT + 25 })),
	]);
	const rows = async (options) =>
		(await ask('--what-if', options, '--since', '4h', '--project', id.project)).workflows.at(-1);
	const { later, held, ...counts } = await rows('lease=120s grace=30s late_completion=yield late_window=1h');
	assert.deepEqual(counts, { project: null, workflow: 'all', lost: 27, avoided: 13, requeued: 0, counted: 4, kept: 2, open: 3, dead: 5, new: 0 });
	assert.ok(Math.abs(later - 30) < 0.1 && Math.abs(held - 150) < 0.5, `${later} ${held}`);
	const same = await rows('lease=90s grace=10s late_completion=acknowledge');
	assert.deepEqual([same.avoided, same.counted, same.kept, same.dead, same.later], [0, 0, 19, 5, 0]);
	assert.equal((await rows('late_completion=yield late_window=0')).counted, 19);
	const off = await rows('lease=0 late_completion=yield');
	assert.deepEqual([off.avoided, off.dead, Math.round(off.later)], [11, 5, TIMEOUT + GRACE - LEASE]);
	const { status, out } = await policy('--what-if', 'lease=120s, grace=30s', '--since', '4h', '--project', id.project);
	assert.equal(status, 0);
	assert.deepEqual(out.split('\n').filter((line) => [...line].length > 80), []);
	assert.match(out.replace(/\s+/g, ' '), /^Of 27 lost runs, 13 would not have been lost: /);
	assert.match(out, /^test\/test +27 +13 /m);
	assert.match(out, /^never +8 {2}#+$/m);
});

test('what if: a shorter lease loses runs that were only silent', async () => {
	const id = await fleet([...many(9, () => ({ back: 85 })), ...many(4, () => ({ back: 40 })), ...many(3, () => dead)]);
	const { workflows } = await ask('--what-if', 'lease=80s', '--since', '4h', '--project', id.project);
	assert.deepEqual([workflows.at(-1).lost, workflows.at(-1).new], [3, 9]);
});

test('what if: options that are none', async () => {
	for (const [words, why] of [
		['lease=10s', 'lease: got "10s", expected a duration from 75s to 1d, or 0 (off)'],
		['lese=90s', 'lese: got "an unknown option", expected an option of [lost]'],
		['lease', 'expected option=value, like lease=120s'],
	]) {
		const { status, err } = await policy('--what-if', words);
		assert.deepEqual([status, err], [2, `interlock: --what-if: ${why}\n`]);
	}
});

// -- advice -----------------------------------------------------------------------------------------

// What a lease costs by the truth: work that is lost although the worker lives, ten times; slots of dead workers.
const WORK = 100 + LEASE + DELAY;
const cost = (workers, lease) =>
	workers.reduce((sum, { back }) => {
		if (back === null) return sum + Math.min(lease, TIMEOUT + GRACE);
		return sum + (back > lease ? 10 * WORK : 0);
	}, 0);
const best = (workers) => {
	const leases = Array.from({ length: 400 }, (_, i) => 75 + 5 * i);
	return Math.min(...leases.map((lease) => cost(workers, lease)));
};
const fleets = {
	'networks are cut for up to two minutes': [...many(150, (x) => ({ back: 30 + 90 * x, done: 300 })), ...many(20, () => dead)],
	'workers die, and seldom one stalls for long': [...many(200, () => dead), ...many(4, (x) => ({ back: 300 + 200 * x, done: 590 })), ...many(60, (x) => ({ back: 10 + 50 * x }))],
	'workers stall for five minutes': [...many(80, (x) => ({ back: 240 + 60 * x, done: 400 })), ...many(10, () => dead)],
};
for (const [name, workers] of Object.entries(fleets))
	test(`advice: ${name}: near the best of a sweep`, async () => {
		const id = await fleet(workers);
		const advice = await ask('--advise', '--since', '4h', '--project', id.project);
		const ours = cost(workers, advice.lease_s), least = best(workers);
		assert.ok(ours <= 1.1 * least, `a lease of ${advice.lease_s} s costs ${ours}, the best ${least}`);
		assert.equal(advice.losses, workers.filter(({ back }) => back === null || back > LEASE).length);
		const { out } = await policy('--advise', '--since', '4h', '--project', id.project);
		assert.match(out, new RegExp(`^lease = ${advice.lease_s}s$`, 'm'));
	});

test('advice is a piece of configuration, and says how sure it is', async () => {
	const id = await fleet([...many(5, () => ({ back: 130, done: 140 })), ...many(30, (x) => ({ clock: 'deadline', back: 640, done: 615 + 20 * x }))]);
	const { status, out } = await policy('--advise', '--since', '4h', '--project', id.project);
	assert.equal(status, 0);
	assert.match(out, /^# lease: it is 90s now; supported hardly: few cases \(5\)\nlease = 135s$/m);
	assert.match(out, /^# grace: it is 10s now; supported fairly \(30\)\ngrace = 35s$/m);
	const file = `${a.file}.advice`;
	writeFileSync(file, out);
	const check = await run(INTERLOCKD_BIN, '-c', file, '--print-config');
	assert.deepEqual([check.status, check.err], [0, '']);
	assert.match(check.out, /^lease = 135s$/m);
	const none = await policy('--advise', '--since', '4h', '--project', (await given()).project);
	assert.match(none.out, /^# lease: no case to judge by; it is 90s now$/m);
});

await stage.play();
