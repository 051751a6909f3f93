// Workers under load that record the reply to every message. Each plays runs one
// after another, and whatever happens to its socket it comes back, joins with the token it has and
// repeats what was not answered, as interlock-protocol(7), Repetitions, lets it. What has no key of its own
// (log lines) is never repeated. checker.mjs compares the record with the database.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { fixture } from '../client/db.mjs';
import { Worker, readSecret } from '../client/lib.mjs';
import { runComplete, runStart, stepComplete, stepStart } from '../wire/stage.mjs';

const secret = readSecret(process.env.WORKER_SECRET_FILE);
const AGAIN_MS = 100; // until the next attempt at what cannot be had now: a socket, a run

// Microseconds, each only once: a message is known by its time.
let clock = BigInt(Date.now()) * 1000n;
export const stamp = () => String(++clock);

// A project of its own with so many runs that wait in its queue.
export const runs = async (db, n) => {
	const id = await fixture(db);
	await db.query(`SELECT interlock_enqueue('${id.workflow}', '{"data":{}}', queue => '${id.queue}')
		FROM generate_series(2, ${n})`);
	return id;
};

const LOGS = ['run:log', 'run:batch_logs'];
const keyless = (event) => LOGS.includes(event);

// What one message was, and what became of it.
export class Said {
	tries = 0;
	reply = null; // the last one
	replied = 0; // which one of all replies that was

	// `wrong`: it ought to be refused.
	constructor(run, event, payload, wrong) {
		Object.assign(this, { run, event, payload, wrong });
	}

	// ok, refused or unknown. A log message is never refused: what was not stored stands in its warnings.
	get outcome() {
		const { status, response } = this.reply ?? {};
		if (status === 'ok') {
			const warned = keyless(this.event) && response.warnings?.message;
			return warned ? 'unknown' : 'ok';
		}
		return status === 'error' && response.code !== 'unavailable' ? 'refused' : 'unknown';
	}
}

// The connection of one worker, made again as often as it takes.
class Line {
	#worker = null;
	#opening = null;
	#joins = new Map();
	closes = []; // the codes with which it was closed

	constructor(load) {
		this.load = load;
		this.id = randomUUID();
	}

	async #open() {
		for (;;) {
			try {
				const worker = await new Worker(this.load.url, secret, this.id).opened;
				worker.closed.then((code) => this.closes.push(code));
				this.#joins = new Map();
				await worker.join('worker:queue', { capacity: 5 });
				return (this.#worker = worker);
			} catch {
				this.load.knocks++;
				await pause(AGAIN_MS);
			}
		}
	}

	async worker() {
		if (this.#worker?.isOpen) return this.#worker;
		this.#opening ??= this.#open().finally(() => (this.#opening = null));
		return this.#opening;
	}

	// The worker, once it speaks for the run.
	async joined({ id, token }) {
		for (;;) {
			const worker = await this.worker();
			const topic = `run:${id}`;
			if (!this.#joins.has(topic)) this.#joins.set(topic, worker.join(topic, { token }));
			try {
				const { status, response } = await this.#joins.get(topic);
				assert.equal(status, 'ok', `join of ${id}: ${JSON.stringify(response)}`);
				return worker;
			} catch (error) {
				if (error instanceof assert.AssertionError) throw error;
				if (worker.isOpen) throw error; // no reply in time
			}
		}
	}

	cut() {
		return this.#worker?.cut();
	}
}

export class Load {
	said = [];
	answered = 0;
	knocks = 0; // attempts to connect that came to nothing
	done = 0; // runs brought to their end
	#claiming = true;
	#gate = null;
	#asked = new Set();
	#waiting = [];

	// `size`: bytes of a step's output.
	constructor({ url, id, workers = 16, slots = 2, size = 20, body = null }) {
		Object.assign(this, { url, id, size });
		this.lines = Array.from({ length: workers }, () => new Line(this));
		this.body = body ?? ((n) => JSON.stringify({ n, x: 'x'.repeat(this.size) }));
		this.everything = Promise.all(
			this.lines.flatMap((line) => Array.from({ length: slots }, () => this.#slot(line))),
		);
		this.everything.catch(() => {}); // progress() rejects with it
	}

	async #slot(line) {
		while (this.#claiming) {
			await this.#gate?.open;
			const run = await this.#claim(line);
			if (run) await this.#play(line, run);
			else await pause(AGAIN_MS);
		}
	}

	// A run that is claimed for a socket that has gone has no worker until the janitor releases it.
	async #claim(line) {
		const worker = await line.worker();
		const claim = { demand: 1, worker_name: 'load', queues: [this.id.queue] };
		const asked = this.#underWay(worker.ask('worker:queue', 'claim', claim));
		const reply = await asked.catch(() => null);
		if (!reply) return null;
		assert.equal(reply.status, 'ok', 'a claim is never refused');
		return reply.response.runs[0];
	}

	async #play(line, run) {
		const say = (...words) => this.say(line, run, ...words);
		const startWrong = () => say('run:start', runStart({ timestamp: stamp() }), true);
		const stepWrong = () => say('step:start', stepStart(randomUUID(), randomUUID(), { timestamp: stamp() }), true);
		const { job_a } = this.id;
		const n = this.done++;
		await say('run:start', runStart({ timestamp: stamp() }));
		if (n % 5 === 0) await startWrong();
		for (let i = 0; i <= n % 3; i++) {
			const step = randomUUID();
			await say('step:start', stepStart(step, job_a, { timestamp: stamp() }));
			await say('run:log', this.#line(step));
			const output = { output_dataclip_id: randomUUID(), output_dataclip: this.body(n) };
			await say('step:complete', stepComplete(step, job_a, { timestamp: stamp(), ...output }));
		}
		if (n % 5 === 1) await stepWrong();
		await say('run:batch_logs', { logs: [1, 2, 3].map(() => this.#line()) });
		await say('run:complete', runComplete({ timestamp: stamp(), final_state: { n } }));
	}

	#line(step_id) {
		return { message: [`line ${stamp()}`], level: 'info', timestamp: stamp(), step_id };
	}

	// Says it until it is answered, and answered otherwise than by `unavailable`.
	async say(line, run, event, payload, wrong = false) {
		const said = new Said(run.id, event, payload, wrong);
		this.said.push(said);
		for (;;) {
			await this.#gate?.open;
			const worker = await line.joined(run);
			said.tries++;
			const asked = this.#underWay(worker.ask(`run:${run.id}`, event, payload));
			const reply = await asked.catch((error) => {
				if (worker.isOpen) throw error; // no reply in time
			});
			if (reply) this.#note(said, reply);
			if (reply?.response.code === 'unavailable') {
				assert.equal(reply.response.retryable, true);
				await pause(AGAIN_MS);
			} else if (reply || keyless(event)) return said;
		}
	}

	#note(said, reply) {
		Object.assign(said, { reply, replied: ++this.answered });
		this.#waiting = this.#waiting.filter(({ at, resolve }) => {
			if (this.answered >= at) resolve();
			return this.answered < at;
		});
	}

	#underWay(asked) {
		const settled = asked.catch(() => {}).finally(() => this.#asked.delete(settled));
		this.#asked.add(settled);
		return asked;
	}

	// Resolves when so many more messages have been answered.
	progress(n = 300) {
		const at = this.answered + n;
		const there = new Promise((resolve) => this.#waiting.push({ at, resolve }));
		return Promise.race([there, this.everything.then(() => assert.fail('there are no runs left'))]);
	}

	// Nobody begins to say anything more; resolves when everything said is answered.
	async hold() {
		let open;
		this.#gate = { open: new Promise((resolve) => (open = resolve)) };
		this.#gate.release = open;
		while (this.#asked.size) await Promise.all(this.#asked);
	}

	release() {
		this.#gate?.release();
		this.#gate = null;
	}

	// Brings the runs that it has to their ends.
	finish() {
		this.#claiming = false;
		this.release();
		return this.everything;
	}
}
