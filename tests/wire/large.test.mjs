// Large messages are read beside the loop: others are answered meanwhile, what the same worker says next
// waits for them, and what they carry is what small ones would have carried.

import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { Database, fixture } from '../client/db.mjs';
import { Coordinator, Held, newDatabase, play, runComplete, runStart, stepComplete, stepStart, test } from './stage.mjs';

const urls = await newDatabase('large');
const a = await Coordinator.start('large', {}, urls);
const db = new Database(urls.migrate_url);
const started = async (options) => {
	const held = await Held.join(a, await fixture(db, options));
	assert.equal((await held.say('run:start', runStart())).status, 'ok');
	return held;
};
const one = async (sql) => (await db.query(sql)).flat();
const SMALL = 65536; // replies that are kept, and the question after them
const MB = 2 ** 20;

// The bound of the longest turn of the loop so far, in seconds.
const longestTurn = async () => {
	const text = await (await fetch(`http://${a.address}/metrics`)).text();
	const buckets = [...text.matchAll(/interlock_event_loop_busy_seconds_bucket\{le="([^"]+)"\} (\d+)/g)];
	const all = Number(buckets.at(-1)[2]);
	return Number(buckets.find(([, , n]) => Number(n) === all)[1].replace('+Inf', 'Infinity'));
};

test('the loop turns while a large message is read, and the socket it came by waits', async () => {
	const held = await started();
	const before = await longestTurn();
	const replies = [];
	const note = (name) => (reply) => replies.push([name, reply.response.code ?? reply.status]);
	const begun = Date.now();
	// 12 million elements, and an event that nobody knows: all of it is reading.
	const large = held.say('dance', { logs: Array(12_000_000).fill(1) }).then(note('large'));
	await Promise.all([large, held.say('run:log', { message: ['next'] }).then(note('next'))]);
	const took = (Date.now() - begun) / 1000;
	assert.deepEqual(replies, [['large', 'unknown_event'], ['next', 'ok']]);
	const longest = await longestTurn();
	console.log(`the longest turn took at most ${longest} s (${before} s before), the message ${took} s`);
	assert.ok(longest < took / 2);
	assert.ok((await a.metric('interlock_buffered_bytes')) < SMALL);
});

test('contents are stored as small ones are', async () => {
	const held = await started();
	const { id } = held;
	const step = randomUUID();
	const [clip, text] = [randomUUID(), JSON.stringify({ a: 'ä"\\'.repeat(MB) })];
	await held.say('step:start', stepStart(step, id.job_a));
	const output = { output_dataclip_id: clip, output_dataclip: text };
	const reply = await held.say('step:complete', stepComplete(step, id.job_a, output));
	assert.deepEqual(reply.response, { step_id: step });
	const digest = createHash('md5').update(text).digest('hex');
	assert.deepEqual(await one(`SELECT md5(body::text) FROM dataclips WHERE id = '${clip}'`), [digest]);
	const final_state = { configuration: { secret: 1 }, data: 'x'.repeat(MB), configurations: 2 };
	const done = await held.say('run:complete', runComplete({ final_state }));
	assert.deepEqual(done.response, {});
	delete final_state.configuration;
	const stored = await one(`SELECT d.body::jsonb = '${JSON.stringify(final_state)}'::jsonb FROM runs r
		JOIN dataclips d ON d.id = r.final_dataclip_id WHERE r.id = '${id.run}'`);
	assert.deepEqual(stored, ['t']);
});

for (const [what, output_dataclip, warning] of [
	['no JSON', 'x'.repeat(MB), 'is not valid JSON'],
	['an object', { a: 'x'.repeat(MB) }, 'cannot be stored'],
	['NUL', JSON.stringify('x'.repeat(MB)) + '\0', 'cannot be stored'],
])
	test(`a large output that is ${what} costs no step`, async () => {
		const held = await started();
		const step = randomUUID();
		const output = { output_dataclip_id: randomUUID(), output_dataclip };
		const { status, response } = await held.say('step:complete', stepComplete(step, held.id.job_a, output));
		assert.deepEqual([status, response.warnings], ['ok', { output_dataclip: [warning] }]);
	});

test('the journal has length and digest of a content that was refused, and of texts the beginning is read', async () => {
	const held = await started();
	const error_message = 'ä'.repeat(MB);
	await held.say('run:complete', runComplete({ reason: 'fail', error_message }));
	const [stored] = await one(`SELECT error_message FROM runs WHERE id = '${held.id.run}'`);
	assert.equal(stored, 'ä'.repeat(4096));
	const again = await held.say('run:complete', runComplete({ final_state: 'x'.repeat(MB) }));
	assert.equal(again.response.code, 'already_final');
	const [message] = await one(`SELECT message::jsonb->'final_state'->>'length' FROM transitions
		WHERE run_id = '${held.id.run}' AND outcome = 'refused'`);
	assert.equal(message, String(MB + 2));
});

test('what is left beside the large members is small, or refused', async () => {
	const held = await started();
	const many = Object.fromEntries(Array.from({ length: 40_000 }, (_, i) => [`m${i}`, i]));
	const reply = await held.say('run:complete', runComplete(many));
	assert.deepEqual([reply.status, reply.response.code], ['error', 'too_large']);
});

test('a worker that hangs up while its message is read: it ends in peace', async () => {
	const held = await started();
	const logs = Array.from({ length: 200_000 }, () => ({ message: ['a line'] }));
	held.say('run:batch_logs', { logs }).catch(() => {});
	await a.untilMetric('interlock_buffered_bytes', (n) => n > MB);
	await held.worker.cut();
	assert.ok((await a.untilMetric('interlock_buffered_bytes', (n) => n < SMALL, 60_000)) < SMALL);
	// Its last bytes had come, or not.
	const [lines] = await one(`SELECT count(*) FROM log_lines WHERE run_id = '${held.id.run}'`);
	assert.ok(['0', '100000'].includes(lines), `${lines} lines`);
});

test('a large frame that is none closes the socket', async () => {
	const held = await started();
	held.worker.ws.send(`[null,"1","phoenix","heartbeat",{"a":"${'x'.repeat(MB)}"]`);
	assert.equal(await held.worker.closed, 1007);
});

await play();
