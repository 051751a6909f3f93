// What others notice, from a thread of its own: how long a heartbeat takes, and small messages of some runs, while
// another client is hostile. Started by hostile_stage.mjs, which stops it. What is not answered counts for
// as long as it was waited for.

import { setTimeout as pause } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { Worker, readSecret, timestamp } from '../client/lib.mjs';

const { url, queue, runs } = workerData;
const PAUSE_MS = 20; // or the watching would be the load
const worker = await new Worker(url, readSecret(process.env.WORKER_SECRET_FILE)).opened;
await worker.join('worker:queue', { capacity: runs });
const joined = [];
while (joined.length < runs) {
	const claim = { demand: 1, worker_name: 'witness', queues: [queue] };
	const { response } = await worker.ask('worker:queue', 'claim', claim);
	for (const { id, token } of response.runs) {
		await worker.join(`run:${id}`, { token });
		joined.push(id);
	}
}

const slowest = { heartbeat: 0, small: 0 };
let stopped = false;
let refused = 0;
let n = 0;
const under = new Map();

const ask = async (kind, topic, event, payload) => {
	const begun = performance.now();
	const took = () => performance.now() - begun;
	under.set(kind, took);
	const { status, response } = await worker.ask(topic, event, payload, 600_000);
	if (status !== 'ok' || response.warnings) refused++;
	slowest[kind] = Math.max(slowest[kind], took());
	under.delete(kind);
	n++;
};

const heartbeats = async () => {
	for (; !stopped; await pause(PAUSE_MS)) await ask('heartbeat', 'phoenix', 'heartbeat', {});
};
// In turn, so that each writer of the coordinator is met.
const messages = async () => {
	for (let i = 0; !stopped; i++, await pause(PAUSE_MS)) {
		const payload = { message: ['small'], level: 'info', timestamp: timestamp() };
		await ask('small', `run:${joined[i % runs]}`, 'run:log', payload);
	}
};
const lost = (error) => {
	if (!stopped) slowest.gone = error.message;
};
heartbeats().catch(lost);
messages().catch(lost);

parentPort.on('message', (word) => {
	if (word === 'reset') {
		Object.assign(slowest, { heartbeat: 0, small: 0 });
		refused = n = 0;
	}
	if (word === 'stop') stopped = true;
	for (const [kind, took] of under) slowest[kind] = Math.max(slowest[kind], took());
	parentPort.postMessage({ ...slowest, refused, n });
	if (stopped) process.exit();
});
parentPort.postMessage('ready');
