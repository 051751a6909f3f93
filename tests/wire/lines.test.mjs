// Many log lines in one message: they are stored in parts, in their order, and others are not made to wait.

import assert from 'node:assert/strict';
import { Database, blocked, fixture, lockOrder, statement } from '../client/db.mjs';
import { Coordinator, Held, newDatabase, play, runStart, test } from './stage.mjs';

const SMALL = 65536; // the question itself, and replies that are kept for a re-join
const urls = await newDatabase('lines');
const a = await Coordinator.start('lines', { database: { writers: '1' } }, urls);
const [db, holder] = [new Database(urls.migrate_url), new Database(urls.migrate_url)];
const held = async (options) => Held.join(a, await fixture(db, options));
const queued = (n) => a.untilMetric('interlock_queued_messages{lane="write0"}', (value) => value === n);
const lines = (n) => Array.from({ length: n }, (_, i) => ({ message: [String(i)] }));
const stored = async ({ id }) => {
	const rows = await db.query(`SELECT message FROM log_lines WHERE run_id = '${id.run}' ORDER BY id`);
	return rows.flat();
};

// The only writer waits for a lock until `say` has queued what it says, which is n messages.
const behind = async (n, say) => {
	const first = await held();
	await holder.query('BEGIN');
	await holder.query(lockOrder(first.id.work_order));
	const started = first.say('run:start', runStart());
	await blocked(db, holder);
	const said = say();
	await queued(n);
	await holder.query('COMMIT');
	assert.equal((await started).status, 'ok');
	return said;
};

test('another run is answered before the last of 5,000 lines is stored', async () => {
	const [many, other] = [await held(), await held()];
	const replies = [];
	const note = (name) => (reply) => replies.push([name, reply.status, reply.response.warnings]);
	await behind(2, () => ({
		all: Promise.all([
			many.say('run:batch_logs', { logs: lines(5000) }).then(note('many')),
			queued(1).then(() => other.say('run:log', { message: ['other'] })).then(note('other')),
		]),
	})).then(({ all }) => all);
	assert.deepEqual(replies, [['other', 'ok', undefined], ['many', 'ok', undefined]]);
	assert.deepEqual(await stored(many), lines(5000).map(({ message }) => message[0]));
});

test('what the same run says next comes behind all of its lines', async () => {
	const many = await held();
	const replies = [];
	await Promise.all([
		many.say('run:batch_logs', { logs: lines(2500) }).then(() => replies.push('batch')),
		many.say('run:log', { message: ['last'] }).then(() => replies.push('log')),
	]);
	assert.deepEqual(replies, ['batch', 'log']);
	assert.deepEqual((await stored(many)).slice(-2), ['2499', 'last']);
});

test('lines that have come are stored, though their worker has gone', async () => {
	const many = await held();
	await behind(1, () => many.say('run:batch_logs', { logs: lines(3000) }).catch(() => {}) && queued(1).then(() => many.worker.cut()));
	const count = `SELECT count(*) FROM log_lines WHERE run_id = '${many.id.run}'`;
	assert.deepEqual(await db.until(count, ([[n]]) => n === '3000'), [['3000']]);
});

test('what has no message is passed over, and beyond 100,000 lines nothing is looked at', async () => {
	const many = await held();
	const logs = [...Array(999).fill(1), { message: ['one'] }, ...Array(99_000).fill(1), { message: ['too many'] }];
	const { status, response } = await many.say('run:batch_logs', { logs });
	assert.equal(status, 'ok');
	assert.deepEqual(response.warnings, {
		message: ["can't be blank"],
		logs: ['has more than 100000 lines: the others were not stored'],
	});
	assert.deepEqual(await stored(many), ['one']);
	// The question itself is held, and nothing of what was said.
	assert.ok((await a.metric('interlock_buffered_bytes')) < SMALL);
});

test('a message of very many elements is read as far as it is stored', async () => {
	const many = await held();
	const { response } = await many.say('run:log', { message: Array(1_500_000).fill(1) });
	assert.deepEqual(response.warnings, { message: ['is too large and was cut'] });
	assert.deepEqual(await stored(many), ['1 '.repeat(2 ** 19)]);
});

test('a text that is cut ends in no part of a secret', async () => {
	const many = await held({ secret: { password: 'a secret that is rather long' } });
	const before = 2 ** 20 - 8;
	const message = ['x'.repeat(before) + 'a secret that is rather long'.repeat(100_000)];
	await many.say('run:log', { message });
	const [text] = await stored(many);
	assert.match(text, /^x+\**$/);
	assert.ok(!text.includes('secret'));
});

// What the daemon would store if its clock were so far off, twice; resolves with the id that the line has.
const offset = { '400 days behind': '-400 d', '13 hours behind': '-13 h', '13 hours ahead': '13 h', '400 days ahead': '400 d' };
for (const [how, by] of Object.entries(offset))
	test(`a coordinator whose clock is ${how} loses no line, nor their order, and stores none twice`, async () => {
		const { id } = await held();
		const [[epoch, claim]] = await db.query(`SELECT claim_epoch, claim_id FROM runs WHERE id = '${id.run}'`);
		const sent = await db.query(`SELECT overlay(interlock_uuid()::text
				PLACING left(interlock_uuid_at(now() + '${by}' + i * interval '1 s')::text, 13) FROM 1)
			FROM generate_series(1, 3) i`);
		const store = async ([line], i) => {
			const [[, verdict, , moved]] = await db.query(statement('log_lines', `'${id.project}'::uuid`, `'${id.run}'::uuid`,
				epoch, `'${claim}'::uuid`, `'${line}'::uuid`, 'NULL::uuid', "'info'", 'NULL::text', `'${i}'`, 'now()'));
			assert.equal(verdict, 'accepted');
			return moved;
		};
		const moved = await Promise.all(sent.map(store));
		assert.deepEqual(await Promise.all(sent.map(store)), moved);
		assert.deepEqual(await db.query(`SELECT id, message,
				abs(extract(epoch FROM now() - ('epoch'::timestamptz + ('x' || left(encode(uuid_send(id), 'hex'), 12))::bit(48)::bigint
					* interval '1 ms'))) <= 43200
			FROM log_lines WHERE run_id = '${id.run}' ORDER BY id`), moved.map((line, i) => [line, `${i}`, 't']));
	});

test('a line of today keeps its id', async () => {
	const one = await held();
	const { response } = await one.say('run:log', { message: ['x'] });
	assert.deepEqual(await db.query(`SELECT id FROM log_lines WHERE run_id = '${one.id.run}'`), [[response.log_line_id]]);
});

await play();
