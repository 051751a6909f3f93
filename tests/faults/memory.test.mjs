// Large messages from many at once: they stay within the memory bound, all of them arrive, and the
// small ones of others are not made to wait for them.
//
// alone: it compares how soon messages are answered

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Worker as Thread } from 'node:worker_threads';
import { Coordinator, claimOne, db, play, runComplete, runStart, stepComplete, stepStart, test } from '../wire/stage.mjs';
import { check } from './checker.mjs';
import { Said, runs, stamp } from './load.mjs';

const MB = 1_000_000;
const PAUSED = 'interlock_paused_sockets{reason="memory"}';
const PAUSES = 'interlock_socket_pauses_total{reason="memory"}';

// So many workers, each with a run that it has joined, and what they say.
class Crowd {
	said = [];
	#replied = 0;

	static async gather(a, n) {
		const crowd = new Crowd();
		crowd.id = await runs(db, n);
		crowd.members = [];
		for (let i = 0; i < n; i++) {
			const worker = await a.worker();
			await worker.join('worker:queue', { capacity: 1 });
			const [{ id, token }] = await claimOne(worker, { worker_name: 'crowd', queues: [crowd.id.queue] });
			await worker.join(`run:${id}`, { token });
			crowd.members.push({ worker, run: id });
		}
		return crowd;
	}

	async say({ worker, run }, event, payload) {
		const said = new Said(run, event, payload, false);
		this.said.push(said);
		said.tries = 1;
		const reply = await worker.ask(`run:${run}`, event, payload);
		Object.assign(said, { reply, replied: ++this.#replied });
	}

	// A whole run in one go, with so many outputs of so many bytes.
	play(member, outputs, bytes) {
		const { job_a } = this.id;
		const words = [this.say(member, 'run:start', runStart({ timestamp: stamp() }))];
		for (let i = 0; i < outputs; i++) {
			const step = randomUUID();
			const output_dataclip = JSON.stringify({ i, text: 'x'.repeat(bytes) });
			const output = { output_dataclip_id: randomUUID(), output_dataclip };
			words.push(this.say(member, 'step:start', stepStart(step, job_a, { timestamp: stamp() })));
			words.push(this.say(member, 'step:complete', stepComplete(step, job_a, { timestamp: stamp(), ...output })));
		}
		words.push(this.say(member, 'run:complete', runComplete({ timestamp: stamp(), final_state: { n: 1 } })));
		return Promise.all(words);
	}

	async leave() {
		await Promise.all(this.members.map(({ worker }) => worker.cut()));
	}
}

// Watches until the work is done, and how long small messages take meanwhile; resolves with what
// witness.mjs reports.
const witnessed = async (a, usual, work) => {
	const id = await runs(db, 1);
	const workerData = { url: a.url, address: a.address, queue: id.queue, usual };
	const witness = new Thread(new URL('witness.mjs', import.meta.url), { workerData });
	await once(witness, 'message');
	await work();
	witness.postMessage('stop');
	const [report] = await once(witness, 'message');
	const said = report.said.map((each) => Object.assign(new Said(), each));
	await check(db, { id, said });
	return report;
};

// A frame as a client sends it, or its beginning: `announced` bytes, of which only those of text come.
const frame = (text, { first = true, final = true, announced = text.length } = {}) => {
	const header = Buffer.alloc(14);
	header[0] = (final ? 0x80 : 0) | (first ? 1 : 0);
	header[1] = 0x80 | 127;
	header.writeBigUInt64BE(BigInt(announced), 2);
	return Buffer.concat([header, Buffer.from(text)]); // masked with 0
};

test('uploads that stand still give way to one that does not', async () => {
	const a = await Coordinator.start('faults-stalled', { limits: { memory: String(16 * MB) } });
	const crowd = await Crowd.gather(a, 4);
	const [honest, split, ...stalled] = crowd.members;
	const ended = stalled.map(({ worker }) => new Promise((resolve) => worker.ws.on('close', resolve)));
	for (const { worker } of stalled) worker.ws._socket.write(frame('["1","2",', { announced: 4 * MB }));
	await a.untilMetric(PAUSED, (n) => n === 1); // one has the room, the other waits for it
	// One byte a second is no progress.
	const drip = setInterval(() => {
		for (const { worker } of stalled) if (!worker.ws._socket.destroyed) worker.ws._socket.write(' ');
	}, 1000);
	// A message of many frames that waits for room, and is there nevertheless, does not wait for ever.
	const beat = JSON.stringify([null, '77', 'phoenix', 'heartbeat', { pad: 'x'.repeat(80_000) }]);
	const answered = new Promise((resolve) => {
		split.worker.ws.on('message', (data) => String(data).includes('"77"') && resolve());
	});
	const socket = split.worker.ws._socket;
	socket.write(frame(beat.slice(0, 60_000), { final: false }));
	split.worker.ws.ping('x');
	await once(split.worker.ws, 'pong'); // it has come
	socket.write(Buffer.concat([
		frame(beat.slice(60_000, 70_000), { first: false, final: false }),
		frame(beat.slice(70_000), { first: false }),
	]));
	await answered;
	const begun = Date.now();
	await crowd.play(honest, 1, 4 * MB);
	console.log(`an honest upload beside stalled ones: ${((Date.now() - begun) / 1000).toFixed(1)} s`);
	assert.deepEqual(crowd.said.filter(({ outcome }) => outcome !== 'ok'), []);
	assert.ok([1013, 1006].includes(await Promise.race(ended)));
	clearInterval(drip);
	await crowd.leave();
	await a.stop();
});

const median = (list) => list.sort((x, y) => x - y)[Math.floor(list.length / 2)];

// Everybody says all of it at once: within the bound, all of it is answered and stored.
const crowded = async (name, limit, members, outputs, bytes) => {
	const a = await Coordinator.start(name, { limits: { memory: String(limit) } });
	const crowd = await Crowd.gather(a, members);
	const report = await witnessed(a, 200, async () => {
		// However slow we are: nothing is stored until the bound is reached.
		await db.query('BEGIN');
		await db.query('LOCK TABLE dataclips IN SHARE MODE');
		const played = Promise.all(crowd.members.map((each) => crowd.play(each, outputs, bytes)));
		const pauses = await a.untilMetric(PAUSES, (n) => n > 0);
		await db.query('COMMIT');
		assert.ok(pauses > 0, 'sockets were paused');
		await played;
	});
	const { held } = report.most;
	// Beyond the bound is the one frame that reached it; it counts twice.
	assert.ok(held > limit / 2 && held < limit + 2 * bytes + MB, `${held} bytes in flight`);
	assert.deepEqual(crowd.said.filter(({ outcome }) => outcome !== 'ok'), []);
	await check(db, crowd, a);
	assert.equal(await a.metric(PAUSED), 0);
	assert.ok((await a.metric('interlock_buffered_bytes')) < MB, 'replies that are kept, and this question');
	await crowd.leave();
	await a.stop();
	return report;
};

test('the memory bound is reached: sockets are not read, then they are, and nothing is lost', async () => {
	await crowded('faults-memory', 16 * MB, 10, 4, MB);
});

test('20 outputs of 10 MB at once: small messages of others take a few times as long', async () => {
	const { before, during } = await crowded('faults-large', 128 * MB, 20, 1, 10 * MB);
	const [usual, beside] = [median(before), median(during)];
	const said = `${usual.toFixed(1)} ms before, ${beside.toFixed(1)} ms beside (${during.length} messages,`;
	console.log(`${said} the slowest ${Math.max(...during).toFixed(0)} ms)`);
	assert.ok(beside < 20 * usual);
});

await play();
