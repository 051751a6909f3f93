// A message that takes longer than a writer may be held, and a database in which every one does. The first goes on
// at the slow lane, and its writer with the others; the second makes progress all the same.
//
// long: it waits for statements to be cancelled

import assert from 'node:assert/strict';
import { Database, blocked, fixture, lockOrder } from '../client/db.mjs';
import { Coordinator, Held, newDatabase, play, runComplete, runStart, test } from '../wire/stage.mjs';

const urls = await newDatabase('slow');
const a = await Coordinator.start('slow', { database: { writers: '1' } }, urls);
const [db, holder] = [new Database(urls.migrate_url), new Database(urls.migrate_url)];
const held = async () => Held.join(a, await fixture(db));
const several = async (n) => Promise.all(Array.from({ length: n }, held));
const logged = (one, message) => one.say('run:log', { message: [message] });
const committing = (lane) => a.untilMetric(`interlock_committing_messages{lane="${lane}"}`, (value) => value > 0);
const stored = async ({ id }) => (await db.query(`SELECT message FROM log_lines WHERE run_id = '${id.run}' ORDER BY id`)).flat();

test('a message that waits for a lock waits beside its writer, and its run in its order', async () => {
	const [waits, ...others] = await several(4);
	const replies = [];
	const note = (name) => (reply) => replies.push([name, reply.status]);
	await holder.query('BEGIN');
	await holder.query(lockOrder(waits.id.work_order));
	const all = [
		waits.say('run:start', runStart()).then(note('start')),
		logged(waits, 'then').then(note('log')),
		waits.say('run:complete', runComplete()).then(note('complete')),
	];
	assert.equal(await committing('slow'), 1);
	await blocked(db, holder); // there, and at no writer
	for (const [event, payload] of [['run:start', runStart()], ['run:log', { message: ['fine'] }], ['run:complete', runComplete()]])
		for (const { status } of await Promise.all(others.map((other) => other.say(event, payload)))) assert.equal(status, 'ok');
	await blocked(db, holder);
	assert.deepEqual(replies, []);
	await holder.query('COMMIT');
	await Promise.all(all);
	assert.deepEqual(replies, [['start', 'ok'], ['log', 'ok'], ['complete', 'ok']]);
	assert.deepEqual(await stored(waits), ['then']);
});

test('while a table is locked nothing is refused, and afterwards everything is stored', async () => {
	const runs = await several(12);
	await holder.query('BEGIN');
	await holder.query('LOCK TABLE log_lines IN ACCESS EXCLUSIVE MODE');
	const replies = runs.flatMap((run) => [logged(run, 'one'), logged(run, 'two')]);
	await blocked(db, holder);
	assert.ok((await committing('slow')) > 0);
	await holder.query('COMMIT');
	for (const { response } of await Promise.all(replies)) assert.equal(response.warnings, undefined);
	for (const run of runs) assert.deepEqual(await stored(run), ['one', 'two']);
});

test('where every statement is slow, messages are still stored together', async () => {
	const runs = await several(40);
	await db.query(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN PERFORM pg_sleep(1.2); RETURN NULL; END $$`);
	await db.query(`CREATE TRIGGER slow BEFORE INSERT ON log_lines FOR EACH STATEMENT EXECUTE FUNCTION slow()`);
	const replies = await Promise.all(runs.flatMap((run) => [logged(run, 'one'), logged(run, 'two')]));
	for (const { response } of replies) assert.equal(response.warnings, undefined);
	for (const run of runs) assert.deepEqual(await stored(run), ['one', 'two']);
	await db.query('DROP TRIGGER slow ON log_lines');
	assert.equal((await logged(runs[0], 'quick')).response.warnings, undefined);
});

await play();
