// A webhook makes one work order, whatever happens to the database's answer and however often its sender repeats
// it: the answer to the commit is swallowed and the connection cut, or nothing passes for longer than the
// queue_timeout.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Database, blocked, fixture } from '../client/db.mjs';
import { Coordinator, databaseUrl, db, play, test } from '../wire/stage.mjs';
import { Cluster, Wire } from './cluster.mjs';

const ID = 'x-meta-work-order-id';

const post = async ({ address }, trigger, headers = {}) => {
	const reply = await fetch(`http://${address}/i/${trigger}`, { method: 'POST', body: '{"n":1}', headers });
	return { status: reply.status, id: reply.headers.get(ID), ...(await reply.json()) };
};
const count = async (base, { project }) => {
	const tables = ['work_orders', 'runs', 'dataclips'];
	const counts = tables.map((table) => `(SELECT count(*) FROM ${table} WHERE project_id = '${project}')`);
	return (await base.query(`SELECT ${counts}`))[0].map(Number);
};
const MADE = [2, 2, 2]; // the fixture's and one more

// -- Faults of the wire -----------------------------------------------------------------------------

const cluster = await Cluster.start('intake');
const wire = await Wire.to(cluster.port);
const patient = await Coordinator.start('intake-patient', {}, cluster.urls(wire.port));
const far = await cluster.psql();
const { migrate_url } = cluster.urls();
const hasty = await Coordinator.start('intake-hasty', {
	database: { url: cluster.urls(wire.port).url, migrate_url, queue_timeout: '1s' },
});

// Until the far side has it, though no answer has come through.
const committed = (id) =>
	far.until(`SELECT count(*) FROM work_orders WHERE project_id = '${id.project}'`, ([[n]]) => n === '2');

for (const [name, headers] of [
	['with nothing of its own', {}],
	['with an Idempotency-Key', { 'Idempotency-Key': 'k' }],
	['with an id', { [ID]: randomUUID() }],
])
	test(`the answer to the commit is swallowed, and the batch is sent again: ${name}`, async () => {
		const id = await fixture(far);
		wire.deafen();
		const reply = post(patient, id.trigger, headers);
		assert.deepEqual(await committed(id), [['2']], 'it is committed');
		await wire.cut();
		const { status, work_order_id, run_id, id: named } = await reply;
		assert.equal(status, 200);
		assert.equal(named, work_order_id);
		assert.deepEqual(await count(far, id), MADE);
		const [[order]] = await far.query(`SELECT work_order_id FROM runs WHERE id = '${run_id}'`);
		assert.equal(order, work_order_id);
	});

test('503 names the id, and the repetition is the same work order', async () => {
	const id = await fixture(far);
	wire.deafen();
	const first = await post(hasty, id.trigger);
	assert.equal(first.status, 503);
	assert.match(first.error, /may not have been stored/);
	assert.deepEqual(await committed(id), [['2']], 'it is committed all the same');
	await wire.cut();
	await hasty.untilMetric('interlock_ready', (is) => is === 1);
	for (const headers of [{ [ID]: first.id }, { [ID]: first.id, 'Idempotency-Key': 'k' }, { 'Idempotency-Key': 'k' }]) {
		const again = await post(hasty, id.trigger, headers);
		assert.deepEqual([again.status, again.id, again.work_order_id], [200, first.id, first.id]);
	}
	assert.deepEqual(await count(far, id), MADE);
});

test('503, for the database is away, names an id too', async () => {
	const id = await fixture(far);
	const body = await (await fetch(`http://${patient.address}/metrics`)).text();
	const lanes = [...body.matchAll(/^interlock_db_up\{lane="[^"]+"\}/gm)].map(([series]) => series);
	assert.ok(lanes.length > 1);
	wire.freeze();
	await wire.cut();
	wire.freeze(); // what dials now waits
	// Until the daemon has noticed.
	for (const lane of lanes) assert.equal(await patient.untilMetric(lane, (is) => is === 0), 0, lane);
	const first = await post(patient, id.trigger);
	assert.equal(first.status, 503);
	assert.match(first.error, /nothing was stored/);
	await wire.cut();
	await patient.untilMetric('interlock_ready', (is) => is === 1);
	const again = await post(patient, id.trigger, { [ID]: first.id });
	assert.deepEqual([again.status, again.id], [200, first.id]);
	assert.deepEqual(await count(far, id), MADE);
});

// -- What is whose ----------------------------------------------------------------------------------

const a = await Coordinator.start('intake-a');
const b = await Coordinator.start('intake-b');

test("another trigger's id is refused, another project's means nothing here", async () => {
	const [mine, theirs] = [await fixture(db), await fixture(db)];
	const trigger = randomUUID();
	await db.query(`INSERT INTO triggers (project_id, id, workflow_id, type, runnable)
		SELECT project_id, '${trigger}', workflow_id, 'webhook', true FROM triggers WHERE id = '${mine.trigger}'`);
	const first = await post(a, mine.trigger);
	for (const headers of [{ [ID]: first.id }, { [ID]: first.id, 'Idempotency-Key': 'k' }]) {
		const { status, id, error } = await post(a, trigger, headers);
		assert.deepEqual([status, id, error], [409, null, `this ${ID} belongs to another trigger`]);
	}
	assert.deepEqual(await count(db, mine), MADE);
	const keyed = await post(a, trigger, { 'Idempotency-Key': 'k' });
	assert.equal(keyed.status, 200, 'the key was not spent on what was refused');
	const foreign = await post(a, theirs.trigger, { [ID]: first.id });
	assert.equal(foreign.status, 200);
	assert.notEqual(foreign.run_id, first.run_id);
	assert.deepEqual(await count(db, theirs), MADE);
	const none = await post(a, mine.trigger, { [ID]: 'not-an-id' });
	assert.deepEqual([none.status, none.error], [400, `${ID} is not a UUID`]);
});

// -- Two at once ------------------------------------------------------------------------------------

// The one that is first is held by a lock on the row that it needs next, behind its insert.
for (const [first, second] of [
	[a, b],
	[b, a],
])
	test(`the same id at two coordinators at once: ${first.name} is first`, async () => {
		const id = await fixture(db);
		const holder = new Database(databaseUrl);
		const headers = { [ID]: randomUUID() };
		// A work order's foreign key wants a share of the workflow's row.
		await holder.query('BEGIN');
		await holder.query(`SELECT FROM workflows WHERE id = '${id.workflow}' FOR UPDATE`);
		const one = post(first, id.trigger, headers);
		await blocked(db, holder);
		const two = post(second, id.trigger, headers);
		await db.until(
			`SELECT count(*) FROM pg_locks l WHERE NOT granted AND EXISTS (SELECT FROM pg_locks o
				WHERE NOT o.granted AND o.pid = ANY (pg_blocking_pids(l.pid)))`,
			([[n]]) => n === '1',
		);
		await holder.query('COMMIT');
		const replies = await Promise.all([one, two]);
		for (const { status, id: named, run_id } of replies)
			assert.deepEqual([status, named, run_id], [200, headers[ID], replies[0].run_id]);
		assert.deepEqual(await count(db, id), MADE);
		holder.close();
	});

test('hundreds of repetitions at two coordinators, in opposite orders', async () => {
	const id = await fixture(db);
	const ids = Array.from({ length: 100 }, () => randomUUID());
	const all = (coordinator, list) => list.map((each) => post(coordinator, id.trigger, { [ID]: each }));
	const replies = await Promise.all([...all(a, ids), ...all(b, ids.toReversed())]);
	assert.deepEqual([...new Set(replies.map(({ status }) => status))], [200]);
	assert.equal(new Set(replies.map(({ run_id }) => run_id)).size, ids.length);
	assert.deepEqual(await count(db, id), [101, 101, 101]);
});

await play();
