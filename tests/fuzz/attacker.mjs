// A worker that has gone mad: at each step it does one thing, chosen by the seed, the worker and the step. What it
// knows (runs, tokens, steps, dataclips) it shares with the others, so each is also the others' old worker.

import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { encodeBinary, readSecret, sign, workerClaims } from '../client/lib.mjs';
import { forge } from '../wire/token.mjs';
import { ANSWER_MS, Ledger, Line } from './line.mjs';
import { EVENTS, make, mangle, mutate, replay } from './payloads.mjs';
import { Random } from './random.mjs';

const secret = readSecret(process.env.WORKER_SECRET_FILE);
const KEPT = 200; // ids that are remembered; the oldest go
const RUNS = 4; // its own newest runs are what a worker mostly speaks of

export const remember = (list, value, kept = KEPT) => {
	list.push(value);
	if (list.length > kept) list.shift();
};

// What all attackers know. `victim` is the project that none of them has a token of.
export class World {
	runs = []; // {id, token, steps, joined}
	steps = [];
	clips = [];
	lost = 0;
	sent = 0;
	counts = { ok: 0, error: 0, voided: 0, untracked: 0, healed: 0, turned_away: 0, quiet: 20 };
	ledger = new Ledger();
	answers = new Map(); // how often each event was answered so
	failures = [];
	#end = new AbortController();

	// `projects`: what fixture() gave, of those that are attacked; `facts`: records what was acknowledged.
	constructor({ seed, projects, victim, facts, workers }) {
		Object.assign(this, { seed, projects, victim, facts });
		this.kept = KEPT * workers; // runs, longer than a claim waits for its join
	}

	get stopped() {
		return this.#end.signal.aborted;
	}

	stop() {
		this.#end.abort();
	}

	broken(what) {
		this.failures.push(what);
		this.stop();
	}

	// Resolves after so long, or when it stops.
	pause(ms) {
		return pause(ms, null, { signal: this.#end.signal }).catch(() => {});
	}

	// Ids for a message of this run: its own mostly, then others'.
	idsOf(run) {
		const { victim, projects } = this;
		const other = (random) => random.pick([random.uuid(), 'no id', null, '']);
		const step = (random) =>
			random.weighted({ own: 14, all: 2, victim: 1, other: 1 });
		const choose = {
			own: (random) => random.recent(run.steps) ?? random.uuid(),
			all: (random) => random.pick(this.steps) ?? random.uuid(),
			victim: () => victim.step,
			other,
		};
		return {
			step: (random) => choose[step(random)](random),
			newStep: (random) => {
				if (random.chance(0.2)) return choose[step(random)](random);
				const id = random.uuid();
				remember(run.steps, id);
				remember(this.steps, id);
				return id;
			},
			job: (random) =>
				random.chance(0.9)
					? random.pick(projects)[random.pick(['job_a', 'job_b'])]
					: random.pick([victim.job_a, random.uuid(), null]),
			clip: (random) =>
				random.chance(0.7)
					? (random.pick(this.clips) ?? null)
					: random.pick([victim.dataclip, victim.output, random.uuid(), null, 'no id']),
			credential: (random) =>
				random.pick([...projects.map(({ credential }) => credential), victim.credential, random.uuid(), null, 7]),
		};
	}
}

// How often each thing is done.
const ACTIONS = {
	say: 480,
	mutated: 230,
	recorded: 60,
	claim: 70,
	join: 60,
	forgotten: 12,
	heartbeat: 20,
	binary: 25,
	leave: 12,
	enlist: 6,
	stranger: 12,
	again: 20,
	mangled: 5,
	cut: 2,
	cutFrame: 2,
	close: 1,
	webhook: 6,
	knock: 2,
	large: 1,
};

// How many requests may be under way when the next is made.
const UNDER_WAY = [0, 4, 32, 64];

export class Attacker {
	#ref = 0;
	#joins = new Map();
	#last = null;
	#mine = []; // its newest runs
	#beside = new Map(); // promise → what it is: connections and requests that end by themselves
	steps = 0;

	constructor(world, n, urls) {
		Object.assign(this, { world, n, urls });
	}

	// Until the world stops; what it has begun has ended then.
	async play() {
		for (; !this.world.stopped; this.steps++) {
			const random = new Random(this.world.seed, 'worker', this.n, this.steps);
			if (!this.line?.isOpen && !(await this.#open(random))) {
				await pause(100);
				continue;
			}
			await this.line.room(random.pick(UNDER_WAY));
			await this[random.weighted(ACTIONS)](random);
		}
		await this.line?.room(0);
		this.line?.cut();
		let timer;
		const late = new Promise((resolve) => (timer = setTimeout(resolve, ANSWER_MS, 'late')));
		const ended = await Promise.race([Promise.all(this.#beside.keys()), late]);
		clearTimeout(timer);
		if (ended === 'late')
			this.world.broken(`not ended in ${ANSWER_MS} ms: ${[...this.#beside.values()].join(', ')}`);
	}

	// It goes on without waiting for it.
	#besides(what, promise) {
		this.#beside.set(promise, what);
		promise.finally(() => this.#beside.delete(promise));
	}

	async #open(random) {
		const { world } = this;
		const token = sign(secret, { ...workerClaims(), worker_id: random.uuid() });
		const query = new URLSearchParams({ token, vsn: '2.0.0', api_version: '1.2', worker_version: '1.25.0' });
		this.url = random.pick(this.urls);
		this.#joins.clear();
		this.#last = null; // its ref may be answered on this connection as one of the lost
		this.line = new Line(`${this.url}/websocket?${query}`, this.#ref + 1, {
			ledger: world.ledger,
			answered: (...reply) => this.#answered(...reply),
			healed: () => world.counts.healed++,
			voided: (n) => (world.counts.voided += n),
			broken: (what) => world.broken(what),
		});
		this.#besides(`a connection to ${this.url}`, this.line.closed);
		const status = await this.line.opened;
		// While the database is away.
		if (status !== 101) {
			world.counts.turned_away++;
			if (status !== 503) world.broken(`a handshake was answered ${status}`);
			return false;
		}
		this.enlist(random);
		for (const run of this.#mine.slice(-3)) this.#join(run, run.token);
		return true;
	}

	#answered({ ref, event, topic, clip, token }, status, response) {
		const { world } = this;
		const refused = event === 'phx_join' && status !== 'ok' && this.#joins.get(topic) === ref;
		if (refused || event === 'phx_leave') this.#joins.delete(topic);
		world.counts[status === 'ok' ? 'ok' : 'error']++;
		// As a metric has it: event and outcome. A join says its reason only, a credential may.
		const kind = `${event} ${status === 'ok' ? status : (response.code ?? response.reason ?? 'refused')}`;
		world.answers.set(kind, (world.answers.get(kind) ?? 0) + 1);
		const id = topic.slice('run:'.length);
		if (status === 'ok') world.facts.acknowledged(id, event, response);
		if (event === 'claim' && status === 'ok')
			for (const { id, token } of response.runs) {
				const run = { id, token, steps: [], joined: false };
				remember(world.runs, run, world.kept);
				remember(this.#mine, run, RUNS);
			}
		if (event === 'phx_join' && status === 'ok' && id === world.victim.run && token !== world.victim.token)
			world.broken('the victim was joined');
		if (event === 'fetch:plan' && status === 'ok' && response.dataclip_id) remember(world.clips, response.dataclip_id);
		if (event === 'step:complete' && status === 'ok' && clip) remember(world.clips, clip);
		if (event === 'fetch:credential' && status === 'ok' && JSON.stringify(response).includes(world.victim.password))
			world.broken("the victim's credential was handed out");
	}

	#nextRef() {
		return String(++this.#ref);
	}

	#ask(topic, event, payload, { ref = this.#nextRef(), join_ref = this.#joins.get(topic) ?? null, ...more } = {}) {
		const frame = JSON.stringify([join_ref, ref, topic, event, payload]);
		// Requests are remembered for minutes, payloads are not.
		this.#last = { request: { ref, topic, event, clip: payload?.output_dataclip_id, ...more }, frame };
		this.world.sent++;
		this.line.ask(this.#last.request, frame);
	}

	#join(run, token) {
		run.joined = true;
		const ref = this.#nextRef();
		const topic = `run:${run.id}`;
		this.#joins.set(topic, ref);
		this.#ask(topic, 'phx_join', { token }, { ref, join_ref: ref, token });
	}

	// Its own newest run mostly, any that is known, or the victim's.
	#run(random) {
		const { runs, victim } = this.world;
		if (random.chance(0.85) && this.#mine.length) return random.recent(this.#mine);
		if (random.chance(0.85) && runs.length) return random.pick(runs);
		return { id: victim.run, token: victim.token, steps: [] };
	}

	#message(random, payloadOf) {
		const run = this.#run(random);
		const event = random.weighted(EVENTS);
		const payload = payloadOf(event, this.world.idsOf(run));
		if (!this.#joins.has(`run:${run.id}`) && random.chance(0.9)) this.#join(run, run.token);
		const stale = random.chance(0.03) && { join_ref: String(random.int(this.#ref + 1)) };
		this.#ask(`run:${run.id}`, event, payload, stale || {});
	}

	say(random) {
		this.#message(random, (event, ids) => make(random, event, ids));
	}

	recorded(random) {
		this.#message(random, (event, ids) => replay(random, event, ids));
	}

	mutated(random) {
		this.#message(random, (event, ids) => {
			let payload = random.chance(0.7) ? make(random, event, ids) : replay(random, event, ids);
			for (let i = 0; i <= random.int(3); i++) payload = mutate(random, payload, ids);
			return payload;
		});
	}

	claim(random) {
		const queue = random.pick(this.world.projects).queue;
		const queues = random.pick([[queue], [queue], [queue, '*'], ['*'], [], null, ['manual', '*'], [7, queue], queue]);
		const demand = random.pick([1, 1, 1, 2, 5, 0, -1, 1e9, '1', null]);
		this.#ask('worker:queue', 'claim', { demand, worker_name: random.pick([`w${this.n}`, null, '', 7]), queues });
	}

	join(random) {
		const run = this.#run(random);
		const other = this.#run(random);
		const good = /^\w+\.\w/.test(run.token ?? '');
		const token = random.pick([
			() => run.token,
			() => run.token,
			() => run.token,
			() => other.token,
			() => null,
			() => mangle(random, String(run.token)).toString('latin1'),
			() => (good ? forge({ by: 'another secret' }, run.token) : ''),
			() => (good ? forge({ by: 'unsigned' }, run.token) : ''),
			() => (good ? forge({ by: 'the run key', claims: { epoch: random.int(5) - 1 } }, run.token) : ''),
			() => (good ? forge({ claims: { exp: 1 } }, run.token) : ''),
		])();
		this.#join(run, token);
	}

	// The oldest claim that was never joined: it may have been given back meanwhile.
	forgotten() {
		const run = this.world.runs.find(({ joined }) => !joined);
		if (run) this.#join(run, run.token);
	}

	leave(random) {
		const topic = random.pick([...this.#joins.keys()]) ?? 'worker:queue';
		this.#ask(topic, 'phx_leave', {});
	}

	enlist(random) {
		const ref = this.#nextRef();
		this.#joins.set('worker:queue', ref);
		const payload = random.pick([{ capacity: 5 }, {}, { capacity: 5, queues: { 'manual>*': 5 } }, { capacity: 'x' }]);
		this.#ask('worker:queue', 'phx_join', payload, { ref, join_ref: ref });
	}

	heartbeat() {
		this.#ask('phoenix', 'heartbeat', {}, { join_ref: null });
	}

	// Topics and events that are none, or not of each other.
	stranger(random) {
		const topic = random.pick(['phoenix', 'worker:queue', 'worker:other', `run:${random.uuid()}`, 'run:', '', 'é']);
		const event = random.pick(['phx_join', 'phx_leave', 'phx_close', 'phx_reply', 'dance', 'run:complete', 'claim', '']);
		this.#ask(topic, event, random.pick([{}, null, [], 7]));
	}

	// The last request once more, or twice, or much later.
	again(random) {
		const old = this.#last;
		if (!old) return;
		for (let i = 0; i <= random.int(2); i++) {
			this.world.sent++;
			this.line.ask(old.request, old.frame);
		}
	}

	binary(random) {
		const run = this.#run(random);
		const topic = `run:${run.id}`;
		const event = random.pick(['fetch:plan', 'fetch:dataclip', 'run:start', 'run:log', 'heartbeat']);
		const ref = this.#nextRef();
		const frame = encodeBinary(0, [this.#joins.get(topic) ?? '', ref, topic, event], random.bytes(random.int(40)));
		this.world.sent++;
		this.line.ask({ ref, topic, event }, frame);
	}

	// Their ref is none that a reply is looked up by, and too long to be mangled into one.
	mangled(random) {
		const run = this.#run(random);
		const payload = make(random, random.weighted(EVENTS), this.world.idsOf(run));
		const frame = JSON.stringify([null, '~'.repeat(12), `run:${run.id}`, random.weighted(EVENTS), payload]);
		const bytes = random.chance(0.3) ? random.bytes(random.int(200)) : mangle(random, frame);
		this.world.counts.untracked++;
		this.line.send(bytes, { binary: random.chance(0.3) });
	}

	large(random) {
		const run = this.#run(random);
		const logs = Array.from({ length: 1 + random.int(20_000) }, () => random.pick([1, {}, { message: 1 }]));
		const [event, payload] = random.pick([
			['run:batch_logs', { logs }],
			['run:log', { message: logs }],
			['run:complete', { reason: 'success', final_state: { logs } }],
			['run:start', { versions: 'x'.repeat(random.int(3e6)) }],
		]);
		this.#ask(`run:${run.id}`, event, payload);
	}

	cut() {
		this.line.cut();
	}

	// Begins a frame of many bytes, sends some of them, and hangs up.
	cutFrame(random) {
		const header = Buffer.from([random.pick([0x81, 0x82, 0x01]), 0xfe, 0x40, 0x00, 0, 0, 0, 0]);
		this.line.raw(Buffer.concat([header, Buffer.from('["1","2","phoenix",'), random.bytes(random.int(400))]));
		this.line.cut();
	}

	close(random) {
		this.line.close(random.pick([1000, 1001, 3000, 4999]));
	}

	webhook(random) {
		const { trigger } = random.pick(this.world.projects);
		const body = random.pick(['{}', '{"a":"\\u0000"}', 'not JSON', '', JSON.stringify({ x: 'y'.repeat(random.int(1e5)) })]);
		const path = random.pick([`/i/${trigger}`, `/i/${trigger}`, `/i/${random.uuid()}`, '/i/', '/i/%2e%2e/metrics']);
		const headers = random.chance(0.3) ? { 'Idempotency-Key': `k${random.int(5)}` } : {};
		const url = this.url.replace(/^ws/, 'http').replace(/\/worker$/, path);
		const answered = fetch(url, { method: 'POST', body, headers, signal: AbortSignal.timeout(ANSWER_MS) })
			.then((response) => response.arrayBuffer())
			.catch(({ name }) => name === 'TimeoutError' && this.world.broken(`POST ${path}: no answer in ${ANSWER_MS} ms`));
		this.#besides(`POST ${path}`, answered);
	}

	// Bytes at the port: malformed heads, handshakes without a token.
	knock(random) {
		const { hostname, port } = new URL(this.url.replace(/^ws/, 'http'));
		const head = 'GET /worker/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n';
		const socket = net.connect(Number(port), hostname);
		socket.on('error', () => {});
		socket.end(random.chance(0.5) ? mangle(random, head) : random.bytes(random.int(300)));
		socket.resume();
		this.#besides('a knock', new Promise((resolve) => socket.on('close', resolve)));
		socket.setTimeout(200, () => socket.destroy());
	}
}
