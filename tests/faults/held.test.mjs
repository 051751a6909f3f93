// What stays in memory counts in its limit too: plans with the secrets of their runs, and the buffers of database
// connections.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Coordinator, Held, claimOne, given, play, runStart, stepComplete, test } from '../wire/stage.mjs';

const MiB = 1 << 20;
const a = await Coordinator.start('held', { limits: { memory: '16MiB', max_message: '12MiB' } });
const PLANS = 'interlock_plan_cache_bytes', BUFFERS = 'interlock_db_buffer_bytes';

// A run with so many bytes of secrets.
const withSecret = (i, bytes) => given({ secret: { key: `${i}${randomUUID().repeat(bytes / 36)}` } });

const withOutput = async (held, bytes) => {
	const output = { output_dataclip_id: randomUUID(), output_dataclip: JSON.stringify('x'.repeat(bytes)) };
	return held.say('step:complete', stepComplete(randomUUID(), held.id.job_a, output));
};

test('while cached plans take a quarter of the memory no more runs are claimed', async () => {
	const holders = [];
	while ((await a.metric(PLANS)) <= 4 * MiB) holders.push(await Held.join(a, await withSecret(holders.length, 200_000)));
	const next = await given();
	const worker = await a.worker();
	await worker.join('worker:queue', { capacity: 1 });
	const claim = { queues: [next.queue] };
	assert.deepEqual(await claimOne(worker, claim, 0), []);
	// Who has his run goes on, with large messages too.
	assert.equal((await holders[0].say('run:start', runStart())).status, 'ok');
	assert.equal((await withOutput(holders[0], 6 * MiB)).status, 'ok');
	await Promise.all(holders.map((held) => held.worker.cut()));
	assert.ok((await a.untilMetric(PLANS, (n) => n < MiB)) < MiB);
	assert.equal((await claimOne(worker, claim)).length, 1);
	await worker.cut();
});

test('the buffers of connections count, and a large one is given back', async () => {
	const held = await Held.join(a, await given());
	await held.say('run:start', runStart());
	assert.equal((await withOutput(held, 2 * MiB)).status, 'ok');
	assert.ok((await a.metric(BUFFERS)) > 2 * MiB);
	assert.equal((await withOutput(held, 10 * MiB)).status, 'ok');
	assert.ok((await a.untilMetric(BUFFERS, (n) => n < 2 * MiB)) < 2 * MiB);
	assert.equal((await withOutput(held, 2 * MiB)).status, 'ok');
	assert.doesNotMatch(a.logged, /level=warn msg="body/);
});

await play();
