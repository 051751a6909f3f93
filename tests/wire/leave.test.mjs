// A worker that leaves the channel of a run which it has not started: no other worker will work on it, so it waits
// again at once. A started run stays, and so does one whose worker only joined it again. And a claim that is not
// joined at all.

import assert from 'node:assert/strict';
import { Database, blocked, fixture, journalOf } from '../client/db.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, answer, databaseUrl, db, given, test } from './stage.mjs';

const a = await Coordinator.start('leave-a');
const b = await Coordinator.start('leave-b');
const holder = new Database(databaseUrl);

const stateOf = async ({ run }) =>
	(await db.query(`SELECT state || ' ' || claim_epoch FROM runs WHERE id = '${run}'`))[0][0];
const becomes = (id, state) =>
	db.until(`SELECT state || ' ' || claim_epoch FROM runs WHERE id = '${id.run}'`, ([[is]]) => is === state);
const left = () => a.metric('interlock_returned_runs_total{reason="left"}');
const leave = (held) => held.say('phx_leave');

test('left before its start, a run waits again, is journaled, and its token is worth nothing', async () => {
	const before = await left();
	const held = await Held.join(a, await given());
	assert.equal((await leave(held)).status, 'ok');
	assert.deepEqual(await becomes(held.id, 'available 2'), [['available 2']]);
	const last = (await journalOf(db, held.id.run)).at(-1);
	assert.deepEqual([last.event, last.outcome, last.from_state, last.to_state], ['release', 'released', 'claimed', 'available']);
	assert.equal(await a.untilMetric('interlock_returned_runs_total{reason="left"}', (n) => n > before), before + 1);
	const [[order, waits]] = await db.query(`SELECT w.state, (SELECT count(*) FROM waiting WHERE run_id = r.id)
		FROM runs r JOIN work_orders w ON w.id = r.work_order_id WHERE r.id = '${held.id.run}'`);
	assert.deepEqual([order, waits], ['pending', '1']);
	// Who held it once may join, and finds a plan without jobs.
	assert.equal((await held.join()).status, 'ok');
	assert.deepEqual((await held.say('fetch:plan')).response.jobs, []);
	assert.deepEqual(answer(await held.say('run:start', stage.runStart())), stage.superseded);
	// Another worker gets it at once.
	const other = await Held.join(b, held.id, 'w2');
	assert.equal((await other.say('run:start', stage.runStart())).status, 'ok');
	await leave(held);
	assert.equal(await stateOf(held.id), 'started 3', 'a leave of a claim that is over changes nothing');
});

test('left after its start, or after its end without a start, a run stays', async () => {
	const started = await Held.join(a, await given());
	await started.say('run:start', stage.runStart());
	await leave(started);
	assert.equal(await stateOf(started.id), 'started 1');
	const failed = await Held.join(a, await given());
	await failed.say('run:complete', stage.runComplete({ reason: 'crash' }));
	await leave(failed);
	assert.equal(await stateOf(failed.id), 'crashed 1');
});

test('a channel that is replaced or whose socket closes is not left', async () => {
	const before = await left();
	const held = await Held.join(a, await given());
	assert.equal((await held.join()).status, 'ok');
	assert.equal((await held.rejoin(a)).status, 'ok');
	assert.equal((await held.say('run:start', stage.runStart())).status, 'ok');
	assert.equal(await stateOf(held.id), 'started 1');
	assert.equal(await left(), before);
});

test('a start that waits for a lock when its channel is left is stored, and the run stays', async () => {
	const held = await Held.join(a, await given());
	await holder.query('BEGIN');
	await holder.query(`SELECT FROM work_orders WHERE id = '${held.id.work_order}' FOR UPDATE`);
	const started = held.say('run:start', stage.runStart());
	await blocked(db, holder);
	await leave(held);
	await holder.query('COMMIT');
	assert.equal((await started).status, 'ok');
	// A later message of the same run is behind the release in the same queue.
	assert.equal((await held.join()).status, 'ok');
	assert.equal(await stateOf(held.id), 'started 1');
});

test('a start that waits behind the leave is refused, at this coordinator or at another', async () => {
	for (const coordinator of [a, b]) {
		const held = await Held.join(a, await given());
		const twin = Object.assign(new Held(), held, { worker: await coordinator.worker() });
		assert.equal((await twin.join()).status, 'ok');
		await holder.query('BEGIN');
		await holder.query(`SELECT FROM runs WHERE id = '${held.id.run}' FOR UPDATE`);
		await leave(held);
		await blocked(db, holder);
		const started = twin.say('run:start', stage.runStart());
		await holder.query('COMMIT');
		assert.deepEqual(answer(await started), stage.superseded);
		assert.equal(await stateOf(held.id), 'available 2');
	}
});

test('a coordinator that has just started releases what was not joined after the join timeout', async () => {
	const urls = await stage.newDatabase('leave');
	const own = new Database(urls.migrate_url);
	const start = (name) => Coordinator.start(name, { claims: { join_timeout: '10ms' }, janitor: { interval: '100ms' } }, urls);
	const before = await start('leave-before');
	const [back, gone] = [await fixture(own), await fixture(own)];
	const held = await Held.claim(before, back);
	await Held.claim(before, gone);
	await before.kill();
	const after = await start('leave-after');
	// However short that time is, a worker that comes back may join.
	held.worker = await after.worker();
	assert.equal((await held.join()).status, 'ok');
	assert.equal((await held.say('run:start', stage.runStart())).status, 'ok');
	const released = `SELECT count(*) FROM transitions WHERE run_id = '${gone.run}' AND outcome = 'released'`;
	assert.deepEqual(await own.until(released, ([[n]]) => n === '1', 60_000), [['1']]);
	const judging = (clock) => after.metric(`interlock_janitor_active{clock="${clock}"}`);
	assert.deepEqual([await judging('join'), await judging('deadline')], [1, 0], 'the other clocks still wait');
	own.close();
});

await stage.play();
