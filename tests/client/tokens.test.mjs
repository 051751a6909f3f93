// Run tokens as the real worker verifies them: by jose, with the public key that `interlock keys --public` prints
// and no algorithm of its own choice. Each kind of key pair; and the exchange of one kind for another.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jwtVerify } from 'jose';
import * as stage from '../wire/stage.mjs';
import { Coordinator, claimOne, given, test } from '../wire/stage.mjs';

const { INTERLOCK_BIN } = process.env;

const folder = mkdtempSync(join(tmpdir(), 'interlock-tokens-'));
stage.atEnd(() => rmSync(folder, { recursive: true, force: true }));

const pem = { type: 'pkcs8', format: 'pem' };
const write = (name, { privateKey }) => {
	const file = join(folder, name);
	writeFileSync(file, privateKey.export(pem), { mode: 0o600 });
	return file;
};
execFileSync(INTERLOCK_BIN, ['keys', '--dir', folder]);
const KINDS = {
	EdDSA: join(folder, 'run_token_key'), // what the command makes
	ES256: write('p256', generateKeyPairSync('ec', { namedCurve: 'P-256' })),
	RS256: write('rsa', generateKeyPairSync('rsa', { modulusLength: 2048 })),
};

const publicKeyOf = (coordinator) =>
	createPublicKey(execFileSync(INTERLOCK_BIN, ['-c', coordinator.file, 'keys', '--public']));

// A worker that claims the run, and the token that it is given.
const claim = async (coordinator) => {
	const id = await given();
	const worker = await coordinator.worker();
	await worker.join('worker:queue', { capacity: 5 });
	const runs = await claimOne(worker, { queues: [id.queue] });
	assert.deepEqual(runs.map(({ id: run }) => run), [id.run]);
	return { id, worker, token: runs[0].token };
};

const complete = async ({ id, worker, token }) => {
	const topic = `run:${id.run}`;
	for (const [event, payload] of [
		['run:start', stage.runStart()],
		['run:complete', stage.runComplete()],
	]) {
		if (event === 'run:start') assert.equal((await worker.join(topic, { token })).status, 'ok');
		assert.equal((await worker.ask(topic, event, payload)).status, 'ok', event);
	}
};

for (const [alg, run_token_key] of Object.entries(KINDS))
	test(`${alg}: jose verifies the token, and the run is done with it`, async () => {
		const coordinator = await Coordinator.start(`tokens-${alg}`, { keys: { run_token_key } });
		const claimed = await claim(coordinator);
		const { payload, protectedHeader } = await jwtVerify(claimed.token, publicKeyOf(coordinator), {
			issuer: 'Lightning',
		});
		assert.equal(protectedHeader.alg, alg);
		assert.equal(payload.id, claimed.id.run);
		await complete(claimed);
		await coordinator.stop();
	});

// The old key of one kind, the new one of another: what either signed is good on both sides of the exchange.
for (const [from, to] of [
	['RS256', 'EdDSA'],
	['EdDSA', 'ES256'],
])
	test(`${from} is exchanged for ${to} while a worker works`, async () => {
		const keys = (first, other) => ({
			keys: { run_token_key: KINDS[first], run_token_key_other: other ? KINDS[other] : '' },
		});
		const coordinator = await Coordinator.start(`tokens-${from}-${to}`, keys(from, to));
		const before = await claim(coordinator);
		await coordinator.reload(keys(to, from));
		const after = await claim(coordinator);
		await assert.rejects(jwtVerify(before.token, publicKeyOf(coordinator), { issuer: 'Lightning' }));
		await jwtVerify(after.token, publicKeyOf(coordinator), { issuer: 'Lightning' });
		await complete(before);
		await coordinator.reload(keys(to));
		await complete(after);
		await coordinator.stop();
	});

await stage.play();
