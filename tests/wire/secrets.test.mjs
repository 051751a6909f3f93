// Credentials of any size and shape, and such as are changed while a run goes on: what is delivered is
// replaced in the run's texts, what cannot be is not delivered, and neither delays other workers.

import assert from 'node:assert/strict';
import { seal, sealText } from '../client/db.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, db, given, test } from './stage.mjs';

// The runs of all tests stay, with secrets that together are more than a quarter of the usual memory: then no
// more runs would be claimed.
const a = await Coordinator.start('secrets-a', { limits: { memory: '2GiB' } });
const b = await Coordinator.start('secrets-b');

const store = (id, body) =>
	db.query(`UPDATE credentials SET body = '\\x${seal(id.credential, body)}' WHERE id = '${id.credential}'`);
const fetched = (held) => held.say('fetch:credential', { id: held.id.credential });
const logged = async (held, ...message) => {
	assert.equal((await held.say('run:log', { message })).status, 'ok');
	const [[text]] = await db.query(
		`SELECT message FROM log_lines WHERE run_id = '${held.id.run}' ORDER BY id DESC LIMIT 1`,
	);
	return text;
};
const notFound = async (held) => {
	const { status, response } = await fetched(held);
	assert.equal(status, 'error');
	assert.deepEqual(response, { errors: { id: ['Credential not found!'] } });
};

// -- Large and deep ---------------------------------------------------------------------------------

// Seconds of the processor that the coordinator takes for something.
const processorTime = async (work) => {
	const taken = () => a.metric('process_cpu_seconds_total');
	const before = await taken();
	await work();
	return (await taken()) - before;
};

const nested = (levels) => {
	let value = {};
	for (let i = 0; i < levels; i++) value = { a: `${'plain '.repeat(70)}${i}`, b: value };
	return value;
};
const shapes = {
	'a text of 600 KB': [{ text: 'secret words '.repeat(46_000) }, 'secret words '.repeat(46_000)],
	'a text of nearly 1 MiB': [{ text: 'x'.repeat(1_048_000) }, 'x'.repeat(1_048_000)],
	'900 KB in 2,000 levels': [nested(2000), `${'plain '.repeat(70)}1999`],
	'100,000 secrets': [Array.from({ length: 100_000 }, (_, i) => `k${i}`.padEnd(7, '-')), 'k77777-'],
};

// What is quadratic takes longer by far: minutes for the largest.
for (const [name, [body, secret]] of Object.entries(shapes))
	test(`${name} is read, replaced and handed out while others are served`, async () => {
		const id = await given({ secret: body });
		const other = await a.worker();
		const held = await Held.claim(a, id);
		let joined = false;
		const seconds = await processorTime(async () => {
			const join = held.join().finally(() => (joined = true));
			while (!joined) assert.equal((await other.ask('phoenix', 'heartbeat')).status, 'ok');
			assert.equal((await join).status, 'ok');
			assert.ok((await fetched(held)).text === JSON.stringify(body), 'its very bytes');
			assert.equal(await logged(held, `<${secret}>`), '<***>');
			assert.equal((await other.ask('phoenix', 'heartbeat')).status, 'ok');
		});
		assert.ok(seconds < 5, `took ${seconds} s`);
	});

test('workers that join at once, or hang up meanwhile, share what is read', async () => {
	const id = await given({ secret: { text: 'secret words '.repeat(80_000) } });
	const held = await Held.claim(a, id);
	const gone = held.join().catch(() => 'gone');
	await held.worker.cut();
	assert.equal(await gone, 'gone');
	held.worker = await a.worker();
	const join = held.join();
	const twice = held.join(); // waits for the first, and replaces it
	assert.equal((await join).status, 'ok');
	assert.equal((await twice).status, 'ok');
	assert.equal(await logged(held, 'secret words '.repeat(80_000)), '***');
});

test('a secret that nearly begins everywhere in a text is looked for in one pass', async () => {
	const id = await given({ secret: { text: `${'a'.repeat(100_000)}b` } });
	const held = await Held.join(a, id);
	const seconds = await processorTime(async () => {
		assert.equal(await logged(held, 'a'.repeat(1_000_000)), 'a'.repeat(1_000_000));
	});
	assert.ok(seconds < 1, `took ${seconds} s`);
});

test('a credential that is too large is not handed out, and the run goes on', async () => {
	const id = await given({ secret: { text: 'x'.repeat(1_048_577) } });
	const held = await Held.claim(a, id);
	const from = a.logged.length;
	assert.equal((await held.join()).status, 'ok');
	await a.says(new RegExp(`credential ${id.credential} is not handed out: .* 1048576 bytes`), from);
	await notFound(held);
	assert.equal((await held.say('run:start', stage.runStart())).status, 'ok');
	assert.equal(await logged(held, 'xxxx'), 'xxxx');
	assert.equal((await held.say('run:complete', stage.runComplete())).status, 'ok');
});

test('of credentials that are too large together those that fit are handed out, the smallest first', async () => {
	const id = await given({ secret: { text: 'smallest' } });
	const more = [];
	for (let i = 1; i <= 5; i++) {
		const [[credential]] = await db.query('SELECT gen_random_uuid()');
		more.push(credential);
		await db.query(`INSERT INTO credentials (project_id, id, name, body) VALUES ('${id.project}',
			'${credential}', 'large', '\\x${seal(credential, { text: `${i}`.repeat(1_040_000 + i) })}')`);
		await db.query(`INSERT INTO snapshot_jobs (project_id, snapshot_id, job_id, name, credential_id)
			VALUES ('${id.project}', '${id.snapshot}', gen_random_uuid(), 'job', '${credential}')`);
	}
	const held = await Held.join(a, id);
	const answers = [];
	for (const credential of [id.credential, ...more])
		answers.push((await held.say('fetch:credential', { id: credential })).status);
	assert.deepEqual(answers, ['ok', 'ok', 'ok', 'ok', 'ok', 'error']);
	assert.equal(await logged(held, 'the smallest'), 'the ***');
});

test('a credential that is no JSON is not handed out', async () => {
	const id = await given({ secret: { password: 'of no use' } });
	const text = sealText(id.credential, '{"password": of no use}');
	await db.query(`UPDATE credentials SET body = '\\x${text}' WHERE id = '${id.credential}'`);
	const held = await Held.join(a, id);
	await notFound(held);
});

// -- Changed while a run goes on ----------------------------------------------------------------------

test('a credential that is changed during a run is replaced from when it is handed out', async () => {
	const id = await given({ secret: { password: 'the old one' } });
	const held = await Held.join(a, id);
	const another = await Held.join(b, await given({ secret: { password: 'the old one' } }));
	assert.equal(await logged(held, 'the old one, the old one and more'), '***, *** and more');
	await store(id, { password: 'the old one and more' });
	assert.deepEqual((await fetched(held)).response, { password: 'the old one and more' });
	assert.equal(await logged(held, 'the old one, the old one and more'), '***, ***');
	assert.equal(await logged(another, 'the old one and more'), '*** and more');

	// Also in what the journal keeps, and in errors.
	await held.say('run:start', stage.runStart());
	await held.say('run:complete', stage.runComplete({ reason: 'fail', error_message: 'the old one and more' }));
	const [[message]] = await db.query(`SELECT error_message FROM runs WHERE id = '${id.run}'`);
	assert.equal(message, '***');
});

test('after a re-join the credentials of that moment are replaced', async () => {
	const id = await given({ secret: { password: 'the old one' } });
	const held = await Held.join(a, id);
	await store(id, { password: 'another one' });
	assert.equal((await held.rejoin(b)).status, 'ok');
	assert.equal(await logged(held, 'another one'), '***');
});

// Were it added each time, the set would soon take no more of it.
test('a credential that is fetched again and again is kept once', async () => {
	const id = await given({ secret: { password: 'the old one' } });
	const held = await Held.join(a, id);
	await store(id, { password: 'another one', more: 'x'.repeat(1_000_000) });
	for (let i = 0; i < 10; i++) assert.equal((await fetched(held)).status, 'ok');
	assert.equal(await logged(held, 'the old one, another one'), '***, ***');
});

test('a credential that is changed again and again is handed out until its secrets are too many', async () => {
	const id = await given({ secret: {} });
	const held = await Held.join(a, id);
	for (let i = 0; i < 4; i++) {
		await store(id, { password: `${i}`.repeat(1_000_000) });
		assert.equal((await fetched(held)).status, 'ok');
	}
	await store(id, { password: '4'.repeat(1_000_000) });
	await notFound(held);
	await store(id, { password: 'a short one' });
	assert.equal((await fetched(held)).status, 'ok');
	assert.equal(await logged(held, 'a short one', '3'.repeat(1_000_000)), '*** ***');
});

await stage.play();
