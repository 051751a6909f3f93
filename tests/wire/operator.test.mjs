// What an operator asks of the running whole: which runs the janitor would take, who is connected, a run
// withdrawn while workers claim, coordinators that do not agree.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { Database, blocked, journalOf } from '../client/db.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, claimOne, databaseUrl, db, given, test } from './stage.mjs';

const { INTERLOCK_BIN = 'build/interlock' } = process.env;
const a = await Coordinator.start('operator-a', { lost: { after_claim: 'requeue', lease: '90s' } });
const holder = new Database(databaseUrl);

const interlock = (...words) =>
	new Promise((resolve) => {
		execFile(INTERLOCK_BIN, ['-c', a.file, ...words], (error, out, err) =>
			resolve({ status: error?.code ?? 0, out, err }),
		);
	});
const ask = async (...words) => JSON.parse((await interlock(...words, '--json')).out);

// -- lost ---------------------------------------------------------------------------------------------

const overdue = async ({ id }, ...words) =>
	(await ask('lost', '--limit', '100000', ...words)).filter(({ run }) => run === id.run);

test('lost tells which runs would be taken, by which clock, and by how much', async () => {
	const held = await Held.join(a, await given());
	await held.say('run:start', stage.runStart());
	assert.deepEqual(await overdue(held), []);
	const [soon] = await overdue(held, '--within', '10m', '--dry-run');
	const { overdue: by, ...rest } = soon;
	assert.deepEqual(rest, { run: held.id.run, state: 'started', worker: 'w1', clock: 'lease', action: 'lost' });
	assert.ok(by > -91 && by < -60, `in ${-by} s`);
	await db.query(`UPDATE runs SET deadline_at = now() - interval '1 minute' WHERE id = '${held.id.run}'`);
	const [now] = await overdue(held);
	assert.equal(now.clock, 'deadline');
	assert.ok(now.overdue > 59 && now.overdue < 80, `${now.overdue} s ago`);
	const { out } = await interlock('lost', '--limit', '100000');
	assert.match(out, /^run +state +worker +clock +overdue +action\n/);
	assert.match(out, new RegExp(`${held.id.run}  started  w1 +deadline  1m \\d+s +lost`));
	const [[state]] = await db.query(`SELECT state FROM runs WHERE id = '${held.id.run}'`);
	assert.equal(state, 'started', 'nothing was taken');
	await held.say('run:complete', stage.runComplete());
	assert.deepEqual(await overdue(held), []);
});

test('lost knows claims that nobody joined, and runs that would be given back', async () => {
	const held = await Held.claim(a, await given());
	const [unjoined] = await overdue(held, '--within', '1m');
	assert.deepEqual([unjoined.clock, unjoined.action], ['join', 'released']);
	assert.equal((await held.join()).status, 'ok');
	const [silent] = await overdue(held, '--within', '10m');
	assert.deepEqual([silent.clock, silent.action], ['lease', 'requeued']);
	await held.say('run:complete', stage.runComplete());
});

test('lost does not take a duration that is none', async () => {
	const { status, err } = await interlock('lost', '--within', 'soon');
	assert.deepEqual([status, err], [2, 'interlock: --within: got "soon", expected a duration like 10m\n']);
});

// -- cancel -------------------------------------------------------------------------------------------

const stateOf = async ({ run }) => {
	const [row] = await db.query(`SELECT r.state, w.state,
		(SELECT count(*) FROM waiting x WHERE x.run_id = r.id), r.finished_at IS NOT NULL
		FROM runs r JOIN work_orders w ON w.id = r.work_order_id WHERE r.id = '${run}'`);
	return row;
};

test('cancel withdraws a run that waits', async () => {
	const id = await given();
	assert.deepEqual(await interlock('cancel', id.run), { status: 0, out: '', err: '' });
	assert.deepEqual(await stateOf(id), ['cancelled', 'cancelled', '0', 't']);
	const [row] = await journalOf(db, id.run);
	assert.deepEqual(
		[row.event, row.from_state, row.to_state, row.outcome, row.revision],
		['cancel', 'available', 'cancelled', 'accepted', 1],
	);
	const again = await interlock('cancel', id.run);
	assert.equal(again.status, 1);
	assert.match(again.err, /is cancelled: only a run that waits can be cancelled/);
});

test('cancel leaves alone what is claimed, started, unknown or no id', async () => {
	const held = await Held.join(a, await given());
	for (const state of ['claimed', 'started']) {
		const { status, err } = await interlock('cancel', held.id.run);
		assert.deepEqual(
			[status, err],
			[1, `interlock: run ${held.id.run} is ${state}: only a run that waits can be cancelled\n`],
		);
		await held.say('run:start', stage.runStart());
	}
	assert.equal((await held.say('run:complete', stage.runComplete())).status, 'ok');
	assert.equal((await interlock('cancel', '00000000-0000-4000-8000-000000000000')).status, 1);
	assert.equal((await interlock('cancel', 'x')).status, 2);
});

// Both come to the claims' lock while somebody else has it; who came first gets the run.
for (const first of ['cancel', 'claim']) {
	test(`cancel and claim of one run at once: the ${first} is first`, async () => {
		const id = await given();
		const worker = await a.worker();
		await worker.join('worker:queue', { capacity: 1 });
		await holder.query(`BEGIN; SELECT pg_advisory_xact_lock(hashtext('interlock claims'))`);
		const claim = () => claimOne(worker, { worker_name: 'w', queues: [id.queue] }, 0);
		const cancel = () => interlock('cancel', id.run);
		const replies = {};
		const start = (name, act) => (replies[name] = act());
		const order = first === 'cancel' ? { cancel, claim } : { claim, cancel };
		let waiters = 0;
		for (const [name, act] of Object.entries(order)) {
			start(name, act);
			await blocked(db, holder, ++waiters);
		}
		await holder.query('COMMIT');
		const [runs, cancelled] = [await replies.claim, await replies.cancel];
		assert.deepEqual(
			[runs.length, cancelled.status, (await stateOf(id))[0]],
			first === 'cancel' ? [0, 0, 'cancelled'] : [1, 1, 'claimed'],
		);
	});
}

// -- workers, and coordinators that disagree ---------------------------------------------------------

test('workers lists who is connected to which coordinator, with capacity and runs held', async () => {
	const held = await Held.join(a, await given());
	const b = await Coordinator.start('operator-b', { lost: { late_completion: 'reject' } });
	const idle = await b.worker('idle-one');
	await idle.join('worker:queue', { capacity: 7 });
	await db.until(
		`SELECT count(*) FROM coordinators WHERE name IN ('operator-a', 'operator-b')
			AND workers LIKE '%"runs":1%' OR workers LIKE '%idle-one%'`,
		([[n]]) => n === '2',
	);
	const workers = await ask('workers');
	const busy = workers.find(({ coordinator, runs }) => coordinator === 'operator-a' && runs === 1);
	assert.deepEqual([busy.capacity, busy.address], [5, '127.0.0.1']);
	assert.ok(busy.idle >= 0 && busy.idle < 60 && busy.connected >= busy.idle);
	const other = workers.find(({ worker }) => worker === 'idle-one');
	assert.deepEqual([other.coordinator, other.capacity, other.runs], ['operator-b', 7, 0]);
	const { out } = await interlock('workers');
	assert.match(out, /^worker +coordinator +address +capacity +runs +connected +idle\n/);
	assert.match(out, /idle-one +operator-b +127\.0\.0\.1 +7 +0 /);

	await b.says(/coordinator \S+ has another late policy than this one/);
	assert.equal(await b.metric('interlock_policy_mismatch'), 1);
	await b.stop();
	await held.say('run:complete', stage.runComplete());
});

await stage.play();
