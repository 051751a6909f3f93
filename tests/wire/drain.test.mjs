// A coordinator that is stopped closes each socket when nothing is open at it: no request, no run that its
// worker is about to start, no claim that is about to come. What crosses the close is lost with its run.

import assert from 'node:assert/strict';
import * as stage from './stage.mjs';
import { Coordinator, Held, db, given, test } from './stage.mjs';

const stateOf = async ({ run }) => (await db.query(`SELECT state FROM runs WHERE id = '${run}'`))[0][0];
// What a worker does when it is notified of runs; resolves with the outcome.
const onTold = (worker, what) => {
	let notified;
	const outcome = new Promise((resolve) => (notified = resolve));
	worker.pushed.push = ({ event }) => event === 'work-available' && notified(what());
	return outcome;
};
const claim = (worker, queue) =>
	worker.ask('worker:queue', 'claim', { demand: 1, worker_name: null, queues: [queue] });
const stopping = (coordinator) => {
	const stopped = coordinator.stop();
	return { stopped, draining: coordinator.says(/draining/) };
};

test('a run that is between its plan and its start is waited for', async () => {
	const coordinator = await Coordinator.start('drain-start', { server: { drain_timeout: '30s' } });
	const held = await Held.join(coordinator, await given());
	assert.equal((await held.say('fetch:plan')).status, 'ok');
	const asked = onTold(held.worker, () => claim(held.worker, held.id.queue));
	const { stopped } = stopping(coordinator);
	assert.deepEqual((await asked).response, { runs: [] });
	// It is silent for longer than any other socket may be.
	await new Promise((resolve) => setTimeout(resolve, 1500));
	assert.ok(held.worker.isOpen, 'the socket of a run that has not begun stays');
	assert.equal((await held.say('run:start', stage.runStart())).status, 'ok');
	assert.equal((await held.say('run:complete', stage.runComplete())).status, 'ok');
	assert.equal(await stateOf(held.id), 'success');
	assert.equal(await held.worker.closed, 1001);
	await stopped;
});

test('a worker with capacity is made to claim, and gets no runs', async () => {
	const coordinator = await Coordinator.start('drain-claim', { server: { drain_timeout: '30s' } });
	const id = await given();
	const worker = await coordinator.worker();
	await worker.join('worker:queue', { capacity: 1 });
	// It needs longer than any other socket is silent before it is closed.
	const asked = onTold(worker, async () => {
		await new Promise((resolve) => setTimeout(resolve, 500));
		return claim(worker, id.queue);
	});
	const { stopped } = stopping(coordinator);
	assert.deepEqual((await asked).response, { runs: [] });
	assert.equal(await worker.closed, 1001);
	await stopped;
	assert.equal(await stateOf(id), 'available');
});

test('no longer than [server] drain_timeout', async () => {
	const coordinator = await Coordinator.start('drain-end', { server: { drain_timeout: '300ms' } });
	const held = await Held.join(coordinator, await given());
	const { stopped } = stopping(coordinator);
	assert.equal(await held.worker.closed, 1001);
	await stopped;
});

await stage.play();
