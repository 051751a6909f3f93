// Real worker processes: three die, each in another way; one loses its socket only; the clocks of two are
// wrong by an hour. Only the dead ones are lost, each within a lease and an interval.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fixture } from '../../client/db.mjs';
import { atEnd, test } from '../../wire/stage.mjs';
import { Wire } from '../cluster.mjs';
import { INTERLOCK_PUBLIC_KEY, faketime } from './tools.mjs';
import { INTERVAL, LEASE, journal, enforces, lost, runOnce, stageFor, states } from './lib.mjs';

const { WORKER_SECRET_FILE } = process.env;
const RUN_MS = 90_000; // beyond the lease of a worker that dies at the beginning
const SLACK = 20; // seconds, for a sweep on a busy machine

// Claims one run and executes it.
class Process {
	#said = '';
	#waiting = [];

	constructor(url, env = {}) {
		const args = ['--experimental-vm-modules', '--no-warnings', 'tests/client/worker.mjs'];
		const options = ['--url', url, '--secret-file', WORKER_SECRET_FILE, '--once', '--verbose'];
		this.child = spawn(process.execPath, [...args, ...options], {
			stdio: ['ignore', 'pipe', 'inherit'],
			env: { ...process.env, ...env },
		});
		atEnd(() => this.child.kill('SIGKILL'));
		this.exited = once(this.child, 'exit').then(([code, signal]) => code ?? signal);
		this.child.stdout.setEncoding('utf8').on('data', (text) => {
			this.#said += text;
			this.#waiting = this.#waiting.filter(({ pattern, resolve }) => {
				const match = this.#said.match(pattern);
				if (match) resolve(match);
				return !match;
			});
		});
	}

	says(pattern) {
		const match = this.#said.match(pattern);
		if (match) return match;
		const printed = new Promise((resolve) => this.#waiting.push({ pattern, resolve }));
		const died = this.exited.then((code) => assert.fail(`the worker left with ${code}:\n${this.#said}`));
		return Promise.race([printed, died]);
	}

	// The run whose job it executes.
	async running() {
		const [, run] = await this.says(/run (\S+) step:start ok/);
		return (this.run = run);
	}
}

test('of workers only the dead are lost, within a lease and an interval', async () => {
	const { db, coordinators: [watch] } = await stageFor('watch', ['watch']);
	const id = await fixture(db);
	await db.query(`UPDATE snapshots SET body = replace(body, '({ ...state, a: 1 })',
		'new Promise((done) => setTimeout(done, ${RUN_MS}, state))') WHERE id = '${id.snapshot}'`);
	await db.query(`SELECT interlock_enqueue('${id.workflow}', queue => '${id.queue}') FROM generate_series(2, 6)`);

	const { port } = new URL(watch.url);
	const [cable, plug] = [await Wire.to(port), await Wire.to(port)];
	const through = (wire) => watch.url.replace(port, wire.port);
	const key = { WORKER_LIGHTNING_PUBLIC_KEY: INTERLOCK_PUBLIC_KEY };
	const workers = {
		killed: new Process(watch.url),
		stopped: new Process(watch.url),
		'cut off': new Process(through(cable)),
		unplugged: new Process(through(plug)),
		'an hour ahead': new Process(watch.url, { ...key, ...faketime('+3600') }),
		'an hour behind': new Process(watch.url, { ...key, ...faketime('-3600') }),
	};
	await Promise.all(Object.values(workers).map((worker) => worker.running()));
	const deaths = {
		killed: () => workers.killed.child.kill('SIGKILL'),
		stopped: () => workers.stopped.child.kill('SIGSTOP'),
		'cut off': () => cable.freeze(),
	};
	const died = {};
	for (const [name, kill] of Object.entries(deaths)) {
		kill();
		died[name] = Date.now();
	}
	await plug.cut();
	await enforces(watch, 'lease');

	for (const name of Object.keys(deaths)) {
		const { lost_at, lease_over, error_type } = await runOnce(db, workers[name].run, lost, LEASE * 1000);
		const seconds = (lost_at - died[name]) / 1000;
		console.log(`${name}: declared lost after ${seconds.toFixed(1)} s; Lightning: 310 to 610 s`);
		assert.ok(seconds < LEASE + INTERVAL + SLACK, name);
		assert.ok(lease_over, name);
		assert.equal(error_type, 'LostAfterStart');
	}
	for (const [name, worker] of Object.entries(workers))
		if (!deaths[name]) assert.equal(await worker.exited, 0, name);
	assert.deepEqual(await states(db, id.project), { lost: 3, success: 3 });
	const rows = await journal(db, id.project);
	assert.deepEqual([rows['lost accepted'], rows['run:complete accepted']], [3, 3]);
	assert.equal(await watch.metric('interlock_lost_runs_total{clock="lease"}'), 3);

	// The clocks were wrong indeed, and only what they are asked for follows them.
	const hours = `round(extract(epoch FROM started_at - claimed_at) / 3600)`;
	const by = await db.query(`SELECT ${hours}, extract(epoch FROM deadline_at - claimed_at)::int < 400,
		abs(extract(epoch FROM now() - finalized_at)) < 100 FROM runs WHERE state = 'success' ORDER BY 1`);
	assert.deepEqual(by, [['-1', 't', 't'], ['0', 't', 't'], ['1', 't', 't']]);
});
