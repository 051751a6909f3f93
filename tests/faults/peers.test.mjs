// Peers that misbehave, while others work: they are bounded, each in its way, the others do not notice,
// and a metric shows the bound at work.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readdirSync } from 'node:fs';
import net from 'node:net';
import { Database } from '../client/db.mjs';
import { Wire, readSecret, workerParams } from '../client/lib.mjs';
import { Coordinator, Held, claimOne, databaseUrl, db, given, play, runComplete, runStart, stepComplete, stepStart, test } from '../wire/stage.mjs';
import { check } from './checker.mjs';
import { Load, Said, runs, stamp } from './load.mjs';

const SOCKETS = 2000, DESCRIPTORS = 200;
const WORKERS = 4; // of the load, each with a socket

const a = await Coordinator.start('faults-peers', { limits: { max_workers_per_address: SOCKETS } });
const load = new Load({ url: a.url, id: await runs(db, 4000), workers: WORKERS });
const paused = (reason) => `interlock_paused_sockets{reason="${reason}"}`;
const pauses = (reason) => `interlock_socket_pauses_total{reason="${reason}"}`;
const closes = (code) => `interlock_socket_closes_total{code="${code}"}`;

// The others go on meanwhile.
const beside = (name, run) =>
	test(name, async () => {
		const others = load.progress(100);
		await run();
		await others;
	});

// -- Slow handshakes ----------------------------------------------------------------------------------

const half = Array.from({ length: 50 }, () => {
	const [host, port] = a.address.split(':');
	const socket = net.connect(port, host);
	socket.on('error', () => {});
	socket.write('GET /worker/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: a\r\n');
	socket.gone = new Promise((resolve) => socket.on('close', resolve));
	return socket;
});

beside('half a handshake delays no other client', async () => {
	const worker = await a.worker();
	assert.ok(half.every(({ destroyed }) => !destroyed), 'another one is let in before these are given up');
	await worker.cut();
});

// -- Slow readers -------------------------------------------------------------------------------------

const INPUT = 1_000_000;
const input = JSON.stringify({ x: 'x'.repeat(INPUT - 8) });

// A worker that asks for its input so many times and reads nothing.
const deaf = async (n) => {
	const held = await Held.join(a, await given({ input }));
	held.worker.ws._socket.pause();
	const answers = Array.from({ length: n }, () => held.say('fetch:dataclip', { id: held.id.dataclip }));
	for (const answer of answers) answer.catch(() => {});
	return { held, answers };
};

beside('who does not read is not read either, until it does', async () => {
	const { held, answers } = await deaf(20);
	assert.equal(await a.untilMetric(paused('output'), (n) => n === 1), 1);
	const start = held.say('run:start', runStart({ timestamp: stamp() }));
	assert.ok((await a.untilMetric('interlock_buffered_bytes', (n) => n > INPUT)) > INPUT);
	held.worker.ws._socket.resume();
	for (const answer of answers) assert.equal((await answer).text.length, INPUT);
	assert.equal((await start).status, 'ok');
	assert.equal(await a.metric(paused('output')), 0);
	await held.worker.cut();
});

beside('who reads nothing is closed with 1013 beyond 16 MiB', async () => {
	const before = await a.metric(closes(1013));
	const { held } = await deaf(60);
	assert.equal(await a.untilMetric(closes(1013), (n) => n > before), before + 1);
	held.worker.ws._socket.resume();
	assert.equal(await held.worker.closed, 1013);
	assert.equal(await a.untilMetric(paused('output'), (n) => n === 0), 0);
});

// -- A flood ------------------------------------------------------------------------------------------

beside('a flood: thousands of messages at once, not read beyond 64, in order, all there', async () => {
	const id = await runs(db, 20);
	const worker = await a.worker();
	await worker.join('worker:queue', { capacity: 20 });
	const claim = { demand: 20, worker_name: 'flood', queues: [id.queue] };
	const flooded = [];
	while (flooded.length < 20) {
		const more = await claimOne(worker, claim);
		assert.ok(more.length, 'every run is claimed');
		flooded.push(...more);
	}
	const flood = { id, said: [] };
	let replied = 0;
	const say = async (run, event, payload) => {
		const said = new Said(run, event, payload, false);
		flood.said.push(said);
		said.tries = 1;
		const reply = await worker.ask(`run:${run}`, event, payload);
		Object.assign(said, { reply, replied: ++replied });
	};
	const line = (step_id) => ({ message: [`flood ${stamp()}`], timestamp: stamp(), level: 'info', step_id });
	const before = await a.metric(pauses('requests'));
	const everything = flooded.map(async ({ id: run, token }) => {
		await worker.join(`run:${run}`, { token });
		const words = [say(run, 'run:start', runStart({ timestamp: stamp() }))];
		for (let i = 0; i < 30; i++) {
			const step = randomUUID();
			const output = { output_dataclip_id: randomUUID(), output_dataclip: `{"i":${i}}` };
			words.push(say(run, 'step:start', stepStart(step, id.job_a, { timestamp: stamp() })));
			words.push(say(run, 'run:log', line(step)));
			words.push(say(run, 'step:complete', stepComplete(step, id.job_a, { timestamp: stamp(), ...output })));
		}
		words.push(say(run, 'run:complete', runComplete({ timestamp: stamp(), final_state: { i: 1 } })));
		await Promise.all(words);
	});
	await Promise.all(everything);
	assert.ok((await a.metric(pauses('requests'))) > before, 'it was not read meanwhile');
	assert.equal(flood.said.length, 20 * 92);
	const bad = flood.said.find(({ outcome }) => outcome !== 'ok');
	assert.equal(bad, undefined, JSON.stringify(bad));
	await check(db, flood);
	assert.equal(await a.metric(paused('requests')), 0);
	await worker.cut();
});

// -- Many ---------------------------------------------------------------------------------------------

test(`${SOCKETS} workers, and not one more from one address`, async () => {
	const params = { ...workerParams(readSecret(process.env.WORKER_SECRET_FILE)), vsn: '2.0.0' };
	const knock = () => new Wire(a.url, params);
	await a.untilMetric('interlock_sockets', (n) => n === WORKERS);
	const wires = [];
	while (wires.length < SOCKETS - WORKERS) {
		const more = Array.from({ length: Math.min(100, SOCKETS - WORKERS - wires.length) }, knock);
		for (const wire of more) assert.equal(await wire.status, 101);
		wires.push(...more);
	}
	assert.equal(await a.metric('interlock_sockets'), SOCKETS);
	assert.equal(await knock().status, 503);
	for (const [i, wire] of wires.entries()) wire.send(`[null,"${i}","phoenix","heartbeat",{}]`);
	for (const [i, wire] of wires.entries())
		assert.match((await wire.next()).text, new RegExp(`^\\[null,"${i}","phoenix","phx_reply"`));
	await load.progress(100);
	wires.pop().cut();
	await a.untilMetric('interlock_sockets', (n) => n < SOCKETS);
	assert.equal(await knock().status, 101);
	for (const wire of wires) wire.cut();
});

// -- Descriptors --------------------------------------------------------------------------------------

test('more silent connections than descriptors: a worker gets in, the others go on, and it recovers', async () => {
	const b = await Coordinator.start('faults-descriptors', {}, null, ['prlimit', `--nofile=${DESCRIPTORS}`]);
	const [host, port] = b.address.split(':');
	const few = new Load({ url: b.url, id: await runs(db, 1000), workers: 4 });
	await few.progress(50);
	// Who is closed to make room comes again, and takes whatever has become free.
	let knocking = true, away = 0;
	const sockets = new Set();
	const knock = () => {
		const socket = net.connect(port, host).on('error', () => {});
		sockets.add(socket);
		socket.on('close', () => {
			sockets.delete(socket);
			away++;
			if (knocking) setTimeout(knock, 20);
		});
	};
	for (let i = 0; i < 300; i++) knock();
	for (const end = Date.now() + 60_000; !away && Date.now() < end; ) await few.progress(1);
	assert.ok(away, 'some are closed');
	const params = { ...workerParams(readSecret(process.env.WORKER_SECRET_FILE)), vsn: '2.0.0' };
	assert.equal(await new Wire(b.url, params).status, 101);
	await few.progress(50);
	// What the coordinator needs for itself is not theirs to take.
	const open = readdirSync(`/proc/${b.child.pid}/fd`).length;
	assert.ok(open < DESCRIPTORS - 32, `${open} are open`);
	const root = new Database(databaseUrl.replace('interlock_owner@', 'postgres@'));
	await root.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'interlock'");
	root.close();
	await few.progress(50);
	knocking = false;
	for (const socket of sockets) socket.destroy();
	let status;
	for (const end = Date.now() + 60_000; status !== 101 && Date.now() < end; )
		status = await new Wire(b.url, params).status;
	assert.equal(status, 101);
	await few.finish();
	await check(db, few);
	await b.stop();
});

// -----------------------------------------------------------------------------------------------------

test('no other worker was disturbed, and half a handshake does not last', async () => {
	await load.finish();
	await check(db, load, a);
	assert.equal(load.said.filter(({ outcome }) => outcome === 'unknown').length, 0);
	assert.deepEqual(load.lines.flatMap((line) => line.closes), []);
	for (const socket of half) await socket.gone;
});

await play();
