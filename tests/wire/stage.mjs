// What the tests that bring their own coordinators share: starting one, changing its configuration
// while it runs, workers that hold runs, and a runner. No test here sleeps; each awaits an event.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Database, fixture } from '../client/db.mjs';
import { Worker, readSecret, timestamp } from '../client/lib.mjs';

const { INTERLOCK_CONF, WORKER_SECRET_FILE } = process.env;
const { INTERLOCK_BIN = 'build/interlock', INTERLOCKD_BIN = 'build/interlockd' } = process.env;
export const databaseUrl = process.env.DATABASE_OWNER_URL;
const secret = readSecret(WORKER_SECRET_FILE);
const HANG_MS = 60_000; // what has not come by then does not come, on a busy machine either
const folder = mkdtempSync(join(tmpdir(), 'interlock-stage-'));

// -- Coordinators -----------------------------------------------------------------------------------

// The sections of a configuration file, as {section: {option: value}}.
const readConf = (text) => {
	const sections = {};
	let section;
	for (const line of text.split('\n').map((each) => each.trim())) {
		const [, title] = line.match(/^\[(.+)\]$/) ?? [];
		const [, option, value] = line.match(/^(\w+)\s*=\s*(.*)$/) ?? [];
		if (title) section = sections[title] ??= {};
		else if (option) section[option] = value;
	}
	return sections;
};
const printConf = (sections) =>
	Object.entries(sections)
		.map(([title, options]) => {
			const lines = Object.entries(options).map(([option, value]) => `${option} = ${value}`);
			return [`[${title}]`, ...lines].join('\n');
		})
		.join('\n\n');

const running = new Set(), workers = new Set();

// A daemon of the test's own, with the keys of $INTERLOCK_CONF and on its database, or on a new one;
// `options` are {section: {option: value}}.
export class Coordinator {
	#log = '';
	#expected = [];

	// `under`: the command that starts it, if it is not started by itself; `build`: another one than ours.
	static async start(name, options = {}, database = null, under = [], build = INTERLOCKD_BIN) {
		const coordinator = new Coordinator(name, database);
		coordinator.write(options);
		if (database) execFileSync(INTERLOCK_BIN, ['-c', coordinator.file, 'migrate']);
		const [program, ...args] = [...under, build, '-c', coordinator.file];
		const pipe = under.length ? 'pipe' : 'ignore';
		coordinator.child = spawn(program, args, { stdio: [pipe, pipe, 'pipe'] });
		running.add(coordinator);
		coordinator.exited = once(coordinator.child, 'exit').then(([code, signal]) => {
			coordinator.#gone = `it left with ${code ?? signal}`;
			for (const { reject } of coordinator.#expected.splice(0)) reject(coordinator.#trouble());
			return code;
		});
		coordinator.child.stderr.setEncoding('utf8').on('data', (text) => coordinator.#said(text));
		const [, address] = await coordinator.says(/listening on ([^" ]+)/);
		await coordinator.says(/msg="ready"/);
		coordinator.address = address;
		coordinator.url = `ws://${address}/worker`;
		return coordinator;
	}

	#gone = null;

	constructor(name, database) {
		const { database: given, keys } = readConf(readFileSync(INTERLOCK_CONF, 'utf8'));
		this.name = name;
		this.file = join(folder, `${name}.conf`);
		const { admin_url, ...urls } = database ?? {};
		this.base = { database: { ...given, ...urls }, keys };
	}

	write(options = {}) {
		const { server, database, keys, lost, ...rest } = options;
		const sections = {
			server: { listen: '127.0.0.1:0', name: this.name, ...server },
			database: { ...this.base.database, ...database },
			keys: { ...this.base.keys, ...keys },
			lost: { lease: '1h', ...lost }, // the workers here send no heartbeats
			...rest,
		};
		writeFileSync(this.file, printConf(sections));
	}

	#trouble(pattern) {
		return new Error(`coordinator ${this.name}: ${this.#gone ?? `it did not say ${pattern}`}\n${this.#log}`);
	}

	#said(text) {
		this.#log += text;
		this.#expected = this.#expected.filter(({ pattern, from, resolve }) => {
			const match = this.#log.slice(from).match(pattern);
			if (match) resolve(match);
			return !match;
		});
	}

	// Resolves with the match when the log, from that position on, holds the pattern.
	says(pattern, from = 0) {
		const match = this.#log.slice(from).match(pattern);
		if (match) return Promise.resolve(match);
		if (this.#gone) return Promise.reject(this.#trouble());
		return new Promise((resolve, reject) => {
			const timer = setTimeout(() => reject(this.#trouble(pattern)), HANG_MS);
			const settled = (settle) => (value) => {
				clearTimeout(timer);
				settle(value);
			};
			this.#expected.push({
				pattern,
				from,
				resolve: settled(resolve),
				reject: settled(reject),
			});
		});
	}

	get logged() {
		return this.#log;
	}

	// Writes the options again, and resolves when they are in force (or when it says something else).
	async reload(options, says = /configuration reloaded/) {
		const from = this.#log.length;
		this.write(options);
		this.child.kill('SIGHUP');
		await this.says(says, from);
	}

	// The value of one series of the metrics, 0 where there is none.
	async metric(series) {
		const text = await (await fetch(`http://${this.address}/metrics`)).text();
		const line = text.split('\n').find((each) => each.startsWith(`${series} `));
		return line ? Number(line.slice(series.length)) : 0;
	}

	// Asks again until the value is such that holds(value); resolves with the last one.
	async untilMetric(series, holds, timeout = HANG_MS) {
		for (const end = Date.now() + timeout; ; await new Promise((r) => setTimeout(r, 20))) {
			const value = await this.metric(series);
			if (holds(value) || Date.now() > end) return value;
		}
	}

	worker(id) {
		const worker = new Worker(this.url, secret, id);
		workers.add(worker);
		worker.closed.then(() => workers.delete(worker));
		return worker.opened;
	}

	// Ends it as a crash does.
	async kill() {
		running.delete(this);
		this.child.kill('SIGKILL');
		await this.exited;
	}

	async stop() {
		running.delete(this);
		this.child.kill('SIGTERM');
		assert.equal(await this.exited, 0, `${this.name} stopped cleanly\n${this.#log}`);
	}
}

// -- Runs that a worker holds -----------------------------------------------------------------------

// Claims one run. The coordinator may not know yet of a run that was inserted a moment ago.
export const claimOne = async (worker, claim, until = Date.now() + HANG_MS) => {
	const { response } = await worker.ask('worker:queue', 'claim', { demand: 1, ...claim });
	if (response.runs.length || Date.now() > until) return response.runs;
	return claimOne(worker, claim, until);
};

// A claimed run whose channel is joined.
export class Held {
	static async claim(coordinator, id, worker_name = 'w1') {
		const held = Object.assign(new Held(), { id, topic: `run:${id.run}` });
		held.worker = await coordinator.worker();
		await held.worker.join('worker:queue', { capacity: 5 });
		const runs = await claimOne(held.worker, { worker_name, queues: [id.queue] });
		assert.equal(runs.length, 1, 'the run is claimed');
		[{ token: held.token }] = runs;
		return held;
	}

	static async join(coordinator, id, worker_name) {
		const held = await Held.claim(coordinator, id, worker_name);
		assert.equal((await held.join()).status, 'ok');
		return held;
	}

	join() {
		return this.worker.join(this.topic, { token: this.token });
	}

	// Hangs up, and joins with the same token from a new socket.
	async rejoin(coordinator) {
		await this.worker.cut();
		this.worker = await coordinator.worker();
		return this.join();
	}

	say(event, payload = {}) {
		return this.worker.ask(this.topic, event, payload);
	}
}

// -- Messages ---------------------------------------------------------------------------------------

export const runStart = (more) => ({ timestamp: timestamp(), versions: { worker: '1.25.0' }, ...more });
export const stepStart = (step_id, job_id, more) => ({
	step_id,
	job_id,
	timestamp: timestamp(),
	...more,
});
export const stepComplete = (step_id, job_id, more) => ({
	step_id,
	job_id,
	reason: 'success',
	error_type: null,
	error_message: null,
	timestamp: timestamp(),
	...more,
});
export const runComplete = (more) => ({
	reason: 'success',
	error_type: null,
	error_message: null,
	timestamp: timestamp(),
	...more,
});

export const refused = (field, message, code, current_state) => ({
	status: 'error',
	response: {
		[field]: [message],
		errors: { [field]: [message] },
		code,
		retryable: false,
		...(current_state && { current_state }),
	},
});
export const superseded = refused('state', 'claimed by another worker', 'superseded');
export const alreadyFinal = (state) =>
	refused('state', 'already in completed state', 'already_final', state);

// What was answered, without the bytes.
export const answer = ({ status, response }) => ({ status, response });

// -- The runner -------------------------------------------------------------------------------------

export const db = new Database(databaseUrl);
const tests = [];
export const test = (name, play) => tests.push({ name, play });
export const given = (options) => fixture(db, options);

// A database of the test's own in the same cluster, and its urls.
export const newDatabase = async (name) => {
	const as = (role, base) => databaseUrl.replace(/\/\/[^@]*@\/[^?]*/, `//${role}@/${base}`);
	const psql = (sql) => execFileSync('psql', ['-qX', as('postgres', 'postgres'), '-c', sql]);
	const base = `interlock_${name}_${process.pid}`;
	psql(`CREATE DATABASE ${base} OWNER interlock_owner`);
	atEnd(() => psql(`DROP DATABASE ${base} WITH (FORCE)`));
	return { url: as('interlock', base), migrate_url: as('interlock_owner', base), admin_url: as('postgres', base) };
};

// Whatever happens, nothing of the test's stays behind; what was made last goes first.
const ends = [() => rmSync(folder, { recursive: true, force: true })];
export const atEnd = (clean) => ends.push(clean);
process.on('exit', () => {
	for (const { child } of running) child.kill('SIGKILL');
	for (const clean of ends.reverse())
		try {
			clean();
		} catch (error) {
			console.log(`left behind: ${error.stack}\n0 passed, 1 failed`);
			process.exitCode = 1;
		}
});
process.on('unhandledRejection', () => {}); // what a failed test has asked and not waited for
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

// Plays the tests one after another, or all `together`. What has not ended after so many seconds is named: by then a
// program hangs, and soon `tests/run` would end it.
export const play = async ({ together = false, seconds = 280 } = {}) => {
	let passed = 0;
	const failures = [];
	const end = (code) => {
		console.log(`${passed} passed, ${failures.length} failed`);
		process.exit(code);
	};
	const open = new Set();
	setTimeout(() => {
		failures.push('time');
		console.log(`not within ${seconds} s: ${[...open].join('; ')}`);
		end(1);
	}, seconds * 1000).unref();
	const attempt = async ({ name, play: run }) => {
		open.add(name);
		const begun = Date.now();
		try {
			await run();
			passed++;
			console.log(`${name}: ${((Date.now() - begun) / 1000).toFixed(1)} s`);
		} catch (error) {
			failures.push(name);
			console.log(`FAILED ${name}\n${error.stack ?? error}`);
		}
		open.delete(name);
	};
	const only = process.argv[2];
	const chosen = tests.filter((each) => !only || each.name.includes(only));
	if (together) await Promise.all(chosen.map(attempt));
	else for (const each of chosen) await attempt(each);
	for (const worker of workers) await worker.cut(); // no worker waits for a run that is not started
	for (const coordinator of running)
		await coordinator.stop().catch((error) => {
			failures.push('stop');
			console.log(error.stack);
		});
	end(failures.length ? 1 : 0);
};
