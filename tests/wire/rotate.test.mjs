// All three keys are exchanged while workers work on two coordinators: claims are made on one and joined
// on the other, with whichever secret a worker has been given. Nobody is refused; when the old ones
// are gone, what they made is.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Database, fixture, seal } from '../client/db.mjs';
import { Worker, readSecret } from '../client/lib.mjs';
import * as stage from './stage.mjs';
import { Coordinator, claimOne, test } from './stage.mjs';

const { INTERLOCK_BIN, INTERLOCK_CONF } = process.env;
const WORKERS = 4, PACE = 12; // runs that are completed between two steps of the exchange

const folder = mkdtempSync(join(tmpdir(), 'interlock-rotate-'));
stage.atEnd(() => rmSync(folder, { recursive: true, force: true }));
const run = promisify(execFile);
await run(INTERLOCK_BIN, ['keys', '--dir', folder]);

const NAMES = ['worker_secret', 'run_token_key', 'credential_key'];
const conf = readFileSync(INTERLOCK_CONF, 'utf8');
const each = (file) => Object.fromEntries(NAMES.map((name) => [name, file(name)]));
const old = each((name) => conf.match(new RegExp(`^${name} *= *(.+)$`, 'm'))[1]);
const fresh = each((name) => join(folder, name));
const pair = (first, other) => ({
	keys: {
		...first,
		...Object.fromEntries(NAMES.map((name) => [`${name}_other`, other[name] ?? ''])),
	},
});

const urls = await stage.newDatabase('rotate');
const db = new Database(urls.migrate_url);
const a = await Coordinator.start('rotate-a', {}, urls);
const b = await Coordinator.start('rotate-b', {}, urls);
const both = [a, b];

const body = { user: 'u', password: 'correct horse' };
const id = await fixture(db, { secret: body });
const enqueue = (n) =>
	db.query(`SELECT interlock_enqueue('${id.workflow}', queue => '${id.queue}') FROM generate_series(1, ${n})`);

// -- The load -----------------------------------------------------------------------------------------

let secret = readSecret(old.worker_secret); // what a worker that starts now is given
let done = 0, stopping = false, whenDone = () => {};
const refusals = [];

const progress = (n = PACE) => {
	const goal = done + n;
	return new Promise((resolve, reject) => {
		whenDone = () => (refusals.length ? reject(refusals[0]) : done >= goal && resolve());
	});
};

const answered = async (what, asked) => {
	const { status, response } = await asked;
	assert.equal(status, 'ok', `${what}: ${JSON.stringify(response)}`);
	return response;
};

// One run: claimed on one coordinator, joined and reported on the other by a new socket.
const one = async (mine, turn) => {
	const [here, there] = turn % 2 ? both : [b, a];
	const worker = await new Worker(here.url, mine).opened;
	await answered('queue', worker.join('worker:queue', { capacity: 5 }));
	const { runs } = await answered('claim', worker.ask('worker:queue', 'claim', { queues: [id.queue] }));
	if (!runs.length) await enqueue(20);
	for (const { id: run, token } of runs) {
		const other = await new Worker(there.url, mine).opened;
		const topic = `run:${run}`;
		await answered('join', other.join(topic, { token }));
		const credential = await answered('credential', other.ask(topic, 'fetch:credential', { id: id.credential }));
		assert.deepEqual(credential, body);
		await answered('start', other.ask(topic, 'run:start', stage.runStart()));
		await answered('complete', other.ask(topic, 'run:complete', stage.runComplete()));
		await other.cut();
		done++;
	}
	await worker.cut();
	whenDone();
};

const work = async (i) => {
	let mine = secret;
	for (let turn = i; !stopping; turn++) {
		await one(mine, turn).catch((error) => {
			refusals.push(error);
			whenDone();
		});
		if (turn % 3 === 0) mine = secret; // it is restarted
	}
};

// -- The exchange -------------------------------------------------------------------------------------

const everywhere = async (options) => {
	for (const coordinator of both) {
		await coordinator.reload(options);
		await progress(); // one of them knows, the other does not
	}
};

test('all keys are exchanged under load, and no worker is refused', async () => {
	await enqueue(20);
	const workers = Array.from({ length: WORKERS }, (_, i) => work(i));
	await progress();
	await everywhere(pair(old, fresh)); // the new ones are good
	await everywhere(pair(fresh, old)); // and make what is made
	secret = readSecret(fresh.worker_secret);
	await progress(PACE * WORKERS); // every worker has been restarted
	const { stdout } = await run(INTERLOCK_BIN, ['-c', a.file, 'rekey']);
	assert.match(stdout, /^re-encrypted 1 of 1 credentials$/m);
	await everywhere(pair(fresh, {})); // the old ones are gone
	stopping = true;
	await Promise.all(workers);
	assert.deepEqual(refusals, []);
	assert.ok(done > 7 * PACE);
});

test('sealing again finds nothing to do', async () => {
	const before = await db.query('SELECT body FROM credentials');
	const { stdout } = await run(INTERLOCK_BIN, ['-c', a.file, 'rekey']);
	assert.match(stdout, /^re-encrypted 0 of 1 credentials$/m);
	assert.deepEqual(await db.query('SELECT body FROM credentials'), before);
});

test('the old secret is refused', async () => {
	await assert.rejects(new Worker(a.url, readSecret(old.worker_secret)).opened, /401/);
});

test('a run token of the old key joins while that is the other one, and not after', async () => {
	await a.reload(pair(old, fresh));
	await b.reload(pair(fresh, old));
	await enqueue(1);
	const mine = readSecret(fresh.worker_secret);
	const worker = await new Worker(a.url, mine).opened;
	await worker.join('worker:queue', { capacity: 5 });
	const [{ id: claimed, token }] = await claimOne(worker, { queues: [id.queue] });
	const other = await new Worker(b.url, mine).opened;
	assert.equal((await other.join(`run:${claimed}`, { token })).status, 'ok');
	await b.reload(pair(fresh, {}));
	const late = await new Worker(b.url, mine).opened;
	const { status, response: why } = await late.join(`run:${claimed}`, { token });
	assert.deepEqual([status, why.reason], ['error', 'unauthorized']);
	// Who is in stays in.
	assert.equal((await other.ask(`run:${claimed}`, 'run:complete', stage.runComplete())).status, 'ok');
});

test('a reload with a bad key changes nothing, and names it', async () => {
	const bad = join(folder, 'bad');
	writeFileSync(bad, 'no key\n');
	await b.reload(
		{ log: { level: 'debug' }, ...pair({ ...old, run_token_key: bad, credential_key: bad }, {}) },
		/reload failed, nothing changed: \[keys\] run_token_key: .*; \[keys\] credential_key: /,
	);
	await new Worker(b.url, readSecret(fresh.worker_secret)).opened;
	await assert.rejects(new Worker(b.url, readSecret(old.worker_secret)).opened, /401/);
});

test('what opens with neither key is named and left alone', async () => {
	const [[before]] = await db.query('SELECT body FROM credentials');
	await a.reload(pair(old, {}));
	const { code, stderr } = await run(INTERLOCK_BIN, ['-c', a.file, 'rekey']).catch((error) => error);
	assert.equal(code, 1);
	assert.match(stderr, new RegExp(`credential ${id.credential} .* cannot be decrypted with either key`));
	assert.deepEqual(await db.query('SELECT body FROM credentials'), [[before]]);
});

// -- Many ---------------------------------------------------------------------------------------------

test('many credentials are sealed again in batches, from where it was stopped', async () => {
	await a.reload(pair(fresh, old));
	// Sealed by the old key, under their own ids; one more than two batches beside the first.
	for (let i = 0; i < 200; i++)
		await db.query(`INSERT INTO credentials SELECT '${id.project}', gen_random_uuid(), 'x', ''`);
	const seals = (await db.query('SELECT id FROM credentials WHERE length(body) = 0')).flat();
	const values = seals.map((each) => `('${each}'::uuid, '\\x${seal(each, body)}'::bytea)`);
	await db.query(`UPDATE credentials c SET body = v.body FROM (VALUES ${values}) v(id, body) WHERE c.id = v.id`);
	const dry = await run(INTERLOCK_BIN, ['-c', a.file, 'rekey', '--dry-run']);
	assert.match(dry.stdout, /^would re-encrypt 200 of 201 credentials$/m);

	// Held up at the last one of them, and killed there.
	const holder = new Database(urls.migrate_url);
	await holder.query('BEGIN');
	await holder.query('SELECT FROM credentials ORDER BY id DESC LIMIT 1 FOR UPDATE');
	const killed = execFile(INTERLOCK_BIN, ['-c', a.file, 'rekey']);
	await db.until(
		`SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`,
		([[n]]) => n > 0,
	);
	killed.kill('SIGKILL');
	await holder.query('ROLLBACK');
	const { stdout } = await run(INTERLOCK_BIN, ['-c', a.file, 'rekey']);
	assert.match(stdout, /^re-encrypted [01] of 201 credentials$/m);
	assert.match((await run(INTERLOCK_BIN, ['-c', a.file, 'rekey'])).stdout, /^re-encrypted 0 of 201/m);
});

await stage.play();
