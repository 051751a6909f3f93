// Run tokens are signed beside the loop. Whoever goes while they are is treated as one who went while
// the database was asked, and a shutdown waits for them.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as stage from './stage.mjs';
import { Coordinator, db, given, test } from './stage.mjs';

// One thread signs, so what was claimed last waits for all that was claimed before it: five claims of
// 64 runs are some 100 ms.
process.env.UV_THREADPOOL_SIZE = '1';
const claims = 5;
const demand = 64;

// By the slowest kind of key.
const folder = mkdtempSync(join(tmpdir(), 'interlock-signing-'));
stage.atEnd(() => rmSync(folder, { recursive: true, force: true }));
const slow = { keys: { run_token_key: join(folder, 'rsa') } };
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
writeFileSync(slow.keys.run_token_key, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });

// So many runs wait in a queue of their own.
const waiting = async () => {
	const id = await given();
	await db.query(`SELECT count(interlock_enqueue('${id.workflow}', queue => '${id.queue}'))
		FROM generate_series(2, ${claims * demand})`);
	return id;
};
const claim = (worker, { queue }, n) =>
	worker.ask('worker:queue', 'claim', { demand: n, worker_name: null, queues: [queue] });
const ready = async (coordinator) => {
	const worker = await coordinator.worker();
	await worker.join('worker:queue', { capacity: 5 });
	return worker;
};
const stateOf = async ({ run }) =>
	(await db.query(`SELECT state || ' ' || claim_epoch FROM runs WHERE id = '${run}'`))[0][0];
const becomes = async (id, state) => {
	while ((await stateOf(id)) !== state);
};
const claimAll = (worker, many) =>
	Promise.all(Array.from({ length: claims }, () => claim(worker, many, demand)));
const allGot = (answers) =>
	assert.deepEqual(
		answers.map(({ response }) => response.runs.length),
		Array(claims).fill(demand),
	);

for (const [how, go] of [
	['left its channel', (worker) => worker.ask('worker:queue', 'phx_leave', {})],
	['hung up', (worker) => worker.cut()],
])
	test(`the run of a worker that ${how} while its token was signed waits again`, async () => {
		const coordinator = await Coordinator.start('signing', slow);
		const unheard = () => coordinator.metric('interlock_undelivered_claims_total');
		for (let caught = false, tries = 0; !caught; tries++) {
			assert.ok(tries < 20, 'the token was always signed before the worker was gone');
			const [many, one] = [await waiting(), await given()];
			const [busy, worker] = [await ready(coordinator), await ready(coordinator)];
			const before = await unheard();
			const others = claimAll(busy, many);
			const mine = claim(worker, one, 1);
			await becomes(one, 'claimed 1');
			await go(worker);
			allGot(await others);
			const answered = how === 'hung up' ? null : (await mine).response.runs.length;
			caught = (await unheard()) > before;
			if (answered !== null) assert.equal(answered, caught ? 0 : 1);
			if (caught) await becomes(one, 'available 2');
		}
		await coordinator.stop();
	});

test('a shutdown waits for the tokens: every claim is answered', async () => {
	const coordinator = await Coordinator.start('signing-stops', slow);
	const worker = await ready(coordinator);
	const many = await waiting();
	const answers = claimAll(worker, many);
	await becomes(many, 'claimed 1');
	await coordinator.stop();
	allGot(await answers);
});

await stage.play();
