// Large inputs that many workers fetch at once, and do not read yet: they are fetched from the database when there is
// room for them, small messages go on, and in the end everybody has his own.

import assert from 'node:assert/strict';
import { Coordinator, Held, given, play, runStart, test } from '../wire/stage.mjs';

const MiB = 1 << 20;
const INPUT = 10 * MiB; // much more than the kernel takes of it
const a = await Coordinator.start('inputs', { limits: { memory: '32MiB' } });
const buffered = () => a.metric('interlock_buffered_bytes');

// The value when it has not changed for so many looks.
const settled = async (looks) => {
	let value = await buffered();
	for (let same = 0; same < looks; await new Promise((r) => setTimeout(r, 20))) {
		const now = await buffered();
		same = now === value ? same + 1 : 0;
		value = now;
	}
	return value;
};

test('inputs that are fetched by many at once stay within the memory limit', async () => {
	const input = (i) => JSON.stringify({ i, x: 'x'.repeat(INPUT - 20) });
	const workers = [];
	for (let i = 0; i < 12; i++) workers.push(await Held.join(a, await given({ input: input(i) })));
	const other = await Held.join(a, await given());
	const replies = workers.map((held) => {
		held.worker.ws._socket.pause();
		return held.say('fetch:dataclip', { id: held.id.dataclip });
	});
	assert.ok((await a.untilMetric('interlock_buffered_bytes', (n) => n > INPUT)) > INPUT);
	const held = await settled(25);
	assert.ok(held < 32 * MiB, `${Math.round(held / MiB)} MiB`);
	assert.equal((await other.say('run:start', runStart())).status, 'ok');
	assert.equal((await other.say('fetch:dataclip', { id: other.id.dataclip })).status, 'ok');
	for (const { worker } of workers) worker.ws._socket.resume();
	for (const [i, reply] of replies.entries()) assert.equal((await reply).text, input(i));
	assert.ok((await a.untilMetric('interlock_buffered_bytes', (n) => n < MiB)) < MiB);
});

test('who is gone while his input waits for room leaves nothing behind', async () => {
	const workers = [];
	const input = JSON.stringify('x'.repeat(INPUT));
	for (let i = 0; i < 8; i++) workers.push(await Held.join(a, await given({ input })));
	for (const held of workers) {
		held.worker.ws._socket.pause();
		held.say('fetch:dataclip', { id: held.id.dataclip }).catch(() => {});
	}
	assert.ok((await a.untilMetric('interlock_buffered_bytes', (n) => n > INPUT)) > INPUT);
	for (const { worker } of workers) worker.ws.terminate();
	assert.ok((await a.untilMetric('interlock_buffered_bytes', (n) => n < MiB)) < MiB);
});

await play();
