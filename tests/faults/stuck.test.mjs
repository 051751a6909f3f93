// A message whose statement does not end: it is found out, waits while others of its writer go on, and
// is given up alone. A trigger lets the statement hang, or a third session has the lock that it needs.
//
// long: it waits for statements to be given up

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Database, blocked, fixture, lockOrder } from '../client/db.mjs';
import { Coordinator, Held, answer, newDatabase, play, runComplete, runStart, stepComplete, test } from '../wire/stage.mjs';

const urls = await newDatabase('stuck');
const a = await Coordinator.start('stuck', { server: { drain_timeout: '1s' }, database: { queue_timeout: '10s', writers: '1' } }, urls);
const admin = new Database(urls.admin_url);
const [db, holder] = [new Database(urls.migrate_url), new Database(urls.migrate_url)];
const queued = (n) => a.untilMetric('interlock_queued_messages{lane="write0"}', (value) => value === n);
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

test('who waits for a lock for longer than the queue_timeout is answered busy', async () => {
	const waits = await held();
	await hold(waits);
	const reply = await waits.say('run:start', runStart());
	assert.deepEqual([reply.status, reply.response.code], ['error', 'busy']);
	await release();
	assert.equal(answer(await waits.say('run:start', runStart())).status, 'ok');
});

// -- A backend that reads no more -------------------------------------------------------------------

const withOutput = (step, held, bytes) => {
	const output_dataclip = JSON.stringify('x'.repeat(bytes));
	return stepComplete(step, held.id.job_a, { output_dataclip_id: randomUUID(), output_dataclip });
};
// Stops the backend that takes large bodies; resolves with what lets it go on.
const stopBodies = async () => {
	const [[pid]] = await admin.query(`SELECT pid FROM pg_stat_activity WHERE datname = current_database()
		AND usename = 'interlock' AND query LIKE '%INSERT INTO dataclips (project_id, id, type, body, source_id)%'`);
	process.kill(Number(pid), 'SIGSTOP');
	return () => process.kill(Number(pid), 'SIGCONT');
};
const committing = (n) => a.untilMetric('interlock_committing_messages{lane="body"}', (value) => value === n);

test('a body that the database does not read is given up, and nobody else waits', async () => {
	const [large, other] = [await held(), await held()];
	await large.say('run:start', runStart());
	assert.equal((await large.say('step:complete', withOutput(randomUUID(), large, 2 ** 20))).status, 'ok');
	const goOn = await stopBodies();
	const step = randomUUID();
	const reply = large.say('step:complete', withOutput(step, large, 40 * 2 ** 20));
	assert.equal(await committing(1), 1);
	assert.equal((await other.say('run:start', runStart())).status, 'ok');
	assert.equal((await reply).response.code, 'unavailable');
	goOn();
	assert.deepEqual((await large.say('step:complete', withOutput(step, large, 2 ** 20))).response, { step_id: step });
	assert.ok((await a.metric('interlock_buffered_bytes')) < 65536); // replies that are kept, and this question
});

test('the coordinator ends in time while the database does not read a body', async () => {
	const large = await held();
	await large.say('run:start', runStart());
	const goOn = await stopBodies();
	large.say('step:complete', withOutput(randomUUID(), large, 40 * 2 ** 20)).catch(() => {});
	assert.equal(await committing(1), 1);
	await a.stop();
	goOn();
});

await play();
