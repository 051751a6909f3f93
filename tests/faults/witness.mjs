// A thread of its own, so that it is not the test's own work that it sees: watches metrics, and measures
// how long a small message takes. Started by memory.test.mjs, which stops it.

import { setTimeout as pause } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { Worker, readSecret } from '../client/lib.mjs';

const { url, address, queue, usual } = workerData;
const worker = await new Worker(url, readSecret(process.env.WORKER_SECRET_FILE)).opened;
await worker.join('worker:queue', { capacity: 1 });
const claim = { demand: 1, worker_name: 'witness', queues: [queue] };
let runs = [];
// Of a run that was inserted a moment ago the coordinator may not know yet.
while (!runs.length) ({ runs } = (await worker.ask('worker:queue', 'claim', claim)).response);
const [{ id: run, token }] = runs;
await worker.join(`run:${run}`, { token });

const said = [];
// One small message; resolves with the milliseconds until it was answered.
const say = async () => {
	const timestamp = String(Date.now() * 1000 + said.length);
	const payload = { message: [`small ${run} ${said.length}`], level: 'info', timestamp };
	const begun = performance.now();
	const reply = await worker.ask(`run:${run}`, 'run:log', payload);
	said.push({ run, event: 'run:log', payload, reply, replied: said.length + 1, tries: 1, wrong: false });
	return performance.now() - begun;
};

const before = [];
while (before.length < usual) before.push(await say());
parentPort.postMessage('ready');

let stopped = false;
parentPort.once('message', () => (stopped = true));

const during = [];
const saying = (async () => {
	while (!stopped) during.push(await say());
})();

const most = { held: 0 };
const value = (text, series) => Number(text.match(new RegExp(`^${series} (.*)$`, 'm'))?.[1] ?? 0);
while (!stopped) {
	await pause(20); // or the watching would be the load
	const text = await (await fetch(`http://${address}/metrics`)).text();
	most.held = Math.max(most.held, value(text, 'interlock_buffered_bytes'));
}
await saying;
await worker.cut();
parentPort.postMessage({ said, before, during, most });
