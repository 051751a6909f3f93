// The stateful fuzzer: workers that send anything about runs of two projects, beside an operator who loses and cancels runs,
// while a third project works quietly. It checks what must hold whatever is sent: every request
// is answered once and well, the daemon lives, what was acknowledged is stored, the journal and the runs tell the
// same story, and the third project's rows are as they were.
//
// SEED=… repeats what each worker, the operator and the restarts draw at each of their steps; which runs and ids are
// known at that step depends on the replies before it, and their interleaving is not repeated. FOR=… is how long (60,
// 10m, 1h), WORKERS=… how many, MESSAGES=… ends it sooner, VERBOSE=1 prints how often each reply was given.
// BESIDE=1 brings a second coordinator, RESTART=1 a PostgreSQL of its own that crashes and comes back all the while.
// More workers send more: a single one mostly waits for its replies. Each minute a line says how far it is.
//
// long: it takes its minute

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Database, fixture, lockOrder, quote, settleOrder, sumOf, takeRun } from '../client/db.mjs';
import { Cluster } from '../faults/cluster.mjs';
import { Coordinator, Held, newDatabase, play, runComplete, runStart, stepComplete, stepStart, test } from '../wire/stage.mjs';
import { Attacker, World } from './attacker.mjs';
import { Facts } from './facts.mjs';
import { Random } from './random.mjs';

const { SEED = randomBytes(4).toString('hex'), FOR = '60', WORKERS = '3' } = process.env;
const { MESSAGES = Infinity, BESIDE, RESTART, VERBOSE } = process.env;
const { INTERLOCK_BIN = 'build/interlock' } = process.env;
const [, amount, unit] = FOR.match(/^(\d+)([smh]?)$/);
const seconds = Number(amount) * { '': 1, s: 1, m: 60, h: 3600 }[unit];
const TURN_MS = 250; // of the operator
const LIMIT_S = 120; // for what the database or a program is asked: a hang, not a slow machine

// No kind of answer is out of the fuzzer's reach: on a slow machine it goes on until these came about, so much longer.
const REACHED = ['run:complete ok', 'step:complete ok', 'run:log ok', 'fetch:credential ok', 'phx_join superseded'];
const LONGER_S = 120;

// Resolves or rejects as the promise does, and in any case within so long.
const within = (seconds, what, promise) => {
	let timer;
	const late = new Promise((_, reject) => {
		timer = setTimeout(() => reject(new Error(`not within ${seconds} s: ${what}`)), seconds * 1000);
	});
	return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

// Everything that can go on by itself does: claims that are not joined are given back, deadlines pass.
const options = {
	claims: { join_timeout: '5s' },
	janitor: { interval: '500ms' },
	lost: { grace: '0', after_claim: 'requeue' },
	limits: { memory: '64MiB', max_message: '4MiB' },
	log: { burst: '5' },
};

// The database, or a cluster of its own; ask() asks again where it was away.
const openDatabase = async () => {
	const cluster = RESTART ? await Cluster.start('fuzz') : null;
	const urls = cluster ? cluster.urls() : await newDatabase('fuzz');
	let db = null;
	const connect = async () => (cluster ? cluster.psql() : new Database(urls.migrate_url));
	const ask = async (text) => {
		for (const end = Date.now() + LIMIT_S * 1000; ; await pause(200)) {
			try {
				db ??= await connect();
				return await within(LIMIT_S, text.trim().slice(0, 200), db.query(text));
			} catch (error) {
				if (!RESTART || Date.now() > end) throw error;
				db = null;
			}
		}
	};
	return { urls, cluster, query: ask };
};

// A project of which one run is done and another is at work, by a worker who says no more than that he is there.
const quietProject = async (a, db) => {
	const password = `victim-${randomBytes(12).toString('hex')}`;
	const id = await fixture(db, { secret: { password } });
	await db.query(`SELECT interlock_enqueue('${id.workflow}', '{}', queue => '${id.queue}')`);
	const stepOf = async (held) => {
		const step = crypto.randomUUID();
		const output = crypto.randomUUID();
		await held.say('run:start', runStart());
		await held.say('step:start', stepStart(step, id.job_a));
		const clip = { output_dataclip_id: output, output_dataclip: '{"quiet":1}' };
		assert.equal((await held.say('step:complete', stepComplete(step, id.job_a, clip))).status, 'ok');
		return { step, output };
	};
	const first = await Held.join(a, id);
	const done = await stepOf(first);
	assert.equal((await first.say('run:complete', runComplete())).status, 'ok');
	const [[second]] = await db.query(`SELECT run_id FROM waiting WHERE project_id = '${id.project}'`);
	const held = await Held.join(a, { ...id, run: second });
	await stepOf(held);
	await db.query(`UPDATE runs SET deadline_at = 'infinity' WHERE id = '${second}'`);
	// The attackers know the token of the run that is over, and not that of the other one.
	return { ...id, ...done, password, token: first.token, run: second, held };
};

// Attacked with the token of its finished run, the quiet project's journal may only say so.
class Operator {
	turns = 0;

	constructor(world, db, coordinators) {
		Object.assign(this, { world, db, coordinators });
	}

	async supply(random) {
		for (const { workflow, queue } of this.world.projects) {
			const [[n]] = await this.db.query(`SELECT count(*) FROM waiting WHERE queue = '${queue}'`);
			if (Number(n) >= 4 * WORKERS) continue;
			const input = random.pick(['{"data":{}}', '[]', 'null', '{"a":"\\u0000"}']);
			await this.db.query(`SELECT interlock_enqueue('${workflow}', '${input}', queue => '${queue}',
				idempotency_key => NULL) FROM generate_series(1, ${8 * WORKERS})`);
			await this.db.query(`UPDATE runs SET run_timeout_ms = 1000 + (random() * 20000)::int
				WHERE state = 'available' AND queue = '${queue}' AND run_timeout_ms IS NULL`);
		}
	}

	async lose(random) {
		const { id } = random.recent(this.world.runs) ?? {};
		if (!id) return;
		const [[order]] = await this.db.query(`SELECT work_order_id FROM runs WHERE id = ${quote(id)}`);
		const turn = ['BEGIN', lockOrder(order), takeRun(id), settleOrder(order), 'COMMIT'];
		await this.db.query(turn.join(';\n'));
		this.world.lost++;
	}

	async cancel() {
		const ids = this.world.projects.map(({ project }) => quote(project));
		const [row] = await this.db.query(`SELECT run_id FROM waiting WHERE project_id IN (${ids}) LIMIT 1`);
		if (!row) return;
		try {
			const command = ['-c', this.coordinators[0].file, 'cancel', row[0]];
			await promisify(execFile)(INTERLOCK_BIN, command, { timeout: LIMIT_S * 1000 });
		} catch (error) {
			// Claimed meanwhile, or no database.
			if (error.killed || (error.code !== 1 && !RESTART)) throw error;
		}
	}

	async play() {
		for (; !this.world.stopped; this.turns++) {
			const random = new Random(this.world.seed, 'operator', this.turns);
			await this.supply(random);
			if (random.chance(0.3)) await this.lose(random);
			if (random.chance(0.05)) await this.cancel();
			for (const what of await this.world.facts.missing()) this.world.broken(what);
			await this.world.pause(TURN_MS);
		}
	}
}

const restarts = async (world, cluster) => {
	for (let n = 0; cluster && !world.stopped; n++) {
		const random = new Random(world.seed, 'restart', n);
		await world.pause(20_000 + random.int(40_000));
		if (!world.stopped) await cluster.restart(random.pick(['immediate', 'fast']));
	}
};

// Says how far it is.
const report = async (world, begun) => {
	for (;;) {
		await world.pause(60_000);
		const took = (Date.now() - begun) / 1000;
		const { rss } = process.memoryUsage();
		console.log(`${world.sent} messages in ${took.toFixed(0)} s, ${JSON.stringify(world.counts)}, ${world.lost} losses, ` +
			`${world.facts.checked} acknowledgements looked up, ${(rss / 2 ** 20).toFixed(0)} MiB`);
		if (world.stopped) return;
	}
};

// Of every event and outcome the coordinators have counted what arrived, and what was lost with sockets.
const checkMetrics = async (world, coordinators) => {
	const counted = new Map();
	for (const { address } of coordinators) {
		const signal = AbortSignal.timeout(LIMIT_S * 1000);
		const text = await (await fetch(`http://${address}/metrics`, { signal })).text();
		for (const [, event, outcome, n] of text.matchAll(/^interlock_messages_total\{event="(.*)",outcome="(.*)"\} (.+)/gm)) {
			const kind = `${event} ${outcome}`;
			counted.set(kind, (counted.get(kind) ?? 0) + Number(n));
		}
	}
	const { voided, untracked, quiet } = world.counts;
	const wrong = [...world.answers].filter(([kind, n]) => {
		const more = counted.get(kind) - n;
		return counted.has(kind) && (more < 0 || more > voided + untracked + quiet);
	});
	assert.deepEqual(wrong, [], 'the metrics count something else');
	if (VERBOSE) console.log(Object.fromEntries([...world.answers].sort((x, y) => y[1] - x[1])));
	for (const kind of REACHED) assert.ok(counted.get(kind) > 0, `${kind} came about`);
};

test('whatever is sent, what must hold holds', async () => {
	console.log(`SEED=${SEED} FOR=${FOR} WORKERS=${WORKERS}`);
	const db = await openDatabase();
	const names = BESIDE ? ['fuzz-a', 'fuzz-b'] : ['fuzz-a'];
	const coordinators = [];
	for (const name of names) coordinators.push(await Coordinator.start(name, options, db.urls));
	const victim = await quietProject(coordinators[0], db);
	const projects = [await fixture(db), await fixture(db, { save_dataclips: false })];
	const facts = new Facts(projects.map(({ project }) => project), db.query);
	const world = new World({ seed: SEED, projects, victim, facts, workers: Number(WORKERS) });
	for (const a of coordinators)
		a.exited.then(() => world.over || world.broken(`${a.name} has left`));
	const before = await sumOf(db, victim.project);

	const urls = coordinators.map(({ url }) => url);
	const attackers = Array.from({ length: Number(WORKERS) }, (_, n) => new Attacker(world, n, urls));
	const begun = Date.now();
	const timer = setInterval(() => {
		const took = (Date.now() - begun) / 1000;
		const enough = took > seconds || world.sent >= MESSAGES;
		if (enough && (took > seconds + LONGER_S || REACHED.every((kind) => world.answers.has(kind)))) world.stop();
	}, 100);
	const beat = setInterval(() => victim.held.worker.ask('phoenix', 'heartbeat').catch(() => {}), 15_000);
	const operator = new Operator(world, db, coordinators);
	const beside = [operator.play(), restarts(world, db.cluster), report(world, begun)];
	const stop = (error) => world.broken(error.stack);
	for (const each of beside) each.catch(stop);
	await Promise.all(attackers.map((each) => each.play().catch(stop)));
	world.stop();
	clearInterval(timer);
	clearInterval(beat);
	await Promise.allSettled(beside);

	for (const what of await facts.missing()) world.broken(what);
	assert.deepEqual(world.failures.slice(0, 10), []);
	console.log(`${facts.checked} acknowledgements looked up`);
	await checkMetrics(world, coordinators);
	assert.equal(await sumOf(db, victim.project), before, "the quiet project's rows are as they were");
	const verify = ['-c', coordinators[0].file, 'verify'];
	const { stdout } = await promisify(execFile)(INTERLOCK_BIN, verify, { timeout: 5 * LIMIT_S * 1000 });
	console.log(stdout.trim());
	await victim.held.worker.cut();
	world.over = true;
	for (const a of coordinators) await within(LIMIT_S, `${a.name} to stop`, a.stop());
});

await play({ seconds: seconds + 290 });
