// A message whose statement does not end: it is found out, waits while others of its writer go on, and
// is given up alone. A trigger lets the statement hang, or a third session has the lock that it needs.

import assert from 'node:assert/strict';
import { Database, blocked, fixture, lockOrder } from '../client/db.mjs';
import { Coordinator, Held, answer, newDatabase, play, runComplete, runStart, test } from '../wire/stage.mjs';

const urls = await newDatabase('stuck');
const a = await Coordinator.start('stuck', { database: { patience: '10s', writers: '1' } }, urls);
const [db, holder] = [new Database(urls.migrate_url), new Database(urls.migrate_url)];
const queued = (n) => a.untilMetric('interlock_queued{lane="write0"}', (value) => value === n);
const stored = async ({ id }) => (await db.query(`SELECT message FROM log_lines WHERE run_id = '${id.run}'`)).flat();
const logged = (held, message) => held.say('run:log', { message: [message] });
const hold = async ({ id }) => {
	await holder.query('BEGIN');
	await holder.query(lockOrder(id.work_order));
};
const release = () => holder.query('COMMIT');
const held = async () => Held.join(a, await fixture(db));

await db.query(`CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN PERFORM pg_sleep(600); RETURN NEW; END $$`);
await db.query(`CREATE TRIGGER hang BEFORE INSERT ON log_lines
	FOR EACH ROW WHEN (NEW.message = 'hang') EXECUTE FUNCTION hang()`);

for (const order of [['hang', 'fine'], ['fine', 'hang']])
	test(`in one batch with others: ${order.join(', ')}`, async () => {
		const first = await held();
		const runs = { hang: await held(), fine: await held() };
		const replies = [];
		await hold(first);
		const started = first.say('run:start', runStart());
		await blocked(db, holder);
		const all = [];
		for (const [i, what] of order.entries()) {
			all.push(logged(runs[what], what).then((reply) => replies.push([what, reply])));
			await queued(i + 1);
		}
		await release();
		assert.equal((await started).status, 'ok');
		await Promise.all(all);
		assert.deepEqual(replies.map(([what]) => what), ['fine', 'hang']);
		const [[, fine], [, hung]] = replies;
		assert.deepEqual([fine.status, fine.response.warnings], ['ok', undefined]);
		assert.deepEqual(hung.response.warnings, { message: ['could not be stored: busy'] });
		assert.deepEqual([await stored(runs.fine), await stored(runs.hang)], [['fine'], []]);
		assert.match(a.logged, /statement log_lines of \d+ bytes, sent alone, did not end/);
		// The writer is there for everybody, the run of the message that hung too.
		assert.equal((await logged(runs.hang, 'better')).response.warnings, undefined);
	});

test('who waits for a lock of somebody else lets others pass, and then goes on in its order', async () => {
	const [waits, other] = [await held(), await held()];
	const replies = [];
	const note = (name) => (reply) => replies.push([name, reply.status]);
	await hold(waits);
	const all = [
		waits.say('run:start', runStart()).then(note('start')),
		waits.say('run:complete', runComplete()).then(note('complete')),
	];
	await blocked(db, holder);
	for (const [event, payload] of [['run:start', runStart()], ['run:complete', runComplete()]])
		assert.equal((await other.say(event, payload)).status, 'ok');
	assert.deepEqual(replies, []);
	await release();
	await Promise.all(all);
	assert.deepEqual(replies, [['start', 'ok'], ['complete', 'ok']]);
});

test('who waits for a lock for longer than the patience is answered busy', async () => {
	const waits = await held();
	await hold(waits);
	const reply = await waits.say('run:start', runStart());
	assert.deepEqual([reply.status, reply.response.code], ['error', 'busy']);
	await release();
	assert.equal(answer(await waits.say('run:start', runStart())).status, 'ok');
});

await play(120);
