// Two, then three coordinators on one database, two hundred workers, thousands of runs under every kind
// of limit. Afterwards the journal is asked: each run was claimed once, no limit was exceeded at any moment,
// projects with equal demand were served in turn. $INTERLOCK_RUNS says how many runs.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Database } from '../client/db.mjs';
import * as stage from './stage.mjs';
import { Coordinator, test } from './stage.mjs';

const RUNS = Number(process.env.INTERLOCK_RUNS ?? 3000), WORKERS = 200;
const { INTERLOCK_BIN = 'build/interlock' } = process.env;
const file = join(tmpdir(), `interlock-claims-${process.pid}.json`);
stage.atEnd(() => rmSync(file, { force: true }));

const urls = await stage.newDatabase('claims');
const db = new Database(urls.migrate_url);
const watcher = new Database(urls.migrate_url);
const coordinators = await Promise.all(
	['claims-a', 'claims-b'].map((name) => Coordinator.start(name, {}, urls)),
);

// -- Projects -----------------------------------------------------------------------------------------

// A project with these limits, its own and its workflows' (null: none); {id, workflows: [id]}.
const newProject = (name, concurrency, limits) => {
	const workflow = (limit, i) => {
		const [trigger, job] = [randomUUID(), randomUUID()];
		const code = { adaptor: '@openfn/language-common@3.2.3', body: 'fn((state) => state)' };
		return {
			id: randomUUID(),
			name: `workflow ${i}`,
			...(limit && { concurrency: limit }),
			jobs: [{ id: job, name: 'a', ...code }],
			triggers: [{ id: trigger, type: 'webhook', enabled: true }],
			edges: [
				{
					id: randomUUID(),
					source_trigger_id: trigger,
					target_job_id: job,
					condition: 'always',
					enabled: true,
				},
			],
		};
	};
	const project = {
		id: randomUUID(),
		name,
		...(concurrency && { concurrency }),
		workflows: limits.map(workflow),
	};
	writeFileSync(file, JSON.stringify(project));
	execFileSync(INTERLOCK_BIN, ['-c', coordinators[0].file, 'import', file]);
	return { id: project.id, workflows: project.workflows.map(({ id }) => id) };
};

const enqueue = (workflow, n, queue = 'default', priority = 'normal') =>
	db.query(`SELECT (interlock_enqueue('${workflow}', queue => '${queue}', priority => '${priority}')).run_id
		FROM generate_series(1, ${n})`);

const fair = Array.from({ length: 6 }, (_, i) => newProject(`fair ${i}`, null, [null]));
const limited = [4, null, 20, 6].map((limit, i) => newProject(`limited ${i}`, limit, [2, 4, null]));

// 70 % of the runs without limits, equally many of each project; the rest over all limits, queues, priorities.
const total = await (async () => {
	const each = Math.ceil((RUNS * 0.7) / fair.length);
	for (const { workflows } of fair) await enqueue(workflows[0], each);
	let n = each * fair.length;
	const kinds = ['manual', 'default', 'special'].flatMap((queue) => [
		[queue, 'normal', 4],
		[queue, 'immediate', 1],
	]);
	const share = (RUNS - n) / (limited.length * 3 * 15);
	for (const { workflows } of limited)
		for (const workflow of workflows)
			for (const [queue, priority, parts] of kinds) {
				const some = Math.ceil(share * parts);
				await enqueue(workflow, some, queue, priority);
				n += some;
			}
	return n;
})();

// -- The load -----------------------------------------------------------------------------------------

const claimed = []; // what every claim answered
let completed = 0;
const LISTS = [['manual', '*'], ['manual', '*'], ['manual', '*'], ['special']];

const play = async (worker, { id, token }, n) => {
	const topic = `run:${id}`;
	const ask = async (event, payload) => {
		const { status, response } = await worker.ask(topic, event, payload);
		assert.equal(status, 'ok', `${event}: ${JSON.stringify(response)}`);
	};
	await ask('phx_join', { token });
	if (n % 4 === 0) await ask('run:start', stage.runStart());
	await pause(Math.random() * 10);
	await ask('run:complete', stage.runComplete());
	completed++;
	await ask('phx_leave');
};

const work = async (i) => {
	const queues = LISTS[i % LISTS.length];
	const worker_name = queues.length === 1 ? 'strict' : 'any';
	let coordinator, worker;
	while (completed < total) {
		const mine = coordinators[i % coordinators.length];
		if (coordinator !== mine) {
			await worker?.cut();
			worker = await (coordinator = mine).worker();
			await worker.join('worker:queue', { capacity: 8 });
		}
		const claim = { demand: 1 + (i % 8), worker_name, queues };
		const { runs } = (await worker.ask('worker:queue', 'claim', claim)).response;
		claimed.push(...runs.map(({ id }) => id));
		await Promise.all(runs.map((run, n) => play(worker, run, n)));
		if (!runs.length) await pause(150);
	}
};

// Looks again and again, each time at one moment of the database. Resolves with what was too many.
const watch = async () => {
	const over = [];
	let looks = 0;
	for (; completed < total; looks++) {
		over.push(...(await watcher.query(`SELECT f.project_id, f.workflow_id
			FROM (SELECT project_id, workflow_id, count(*) AS n,
				sum(count(*)) OVER (PARTITION BY project_id) AS in_project
				FROM in_flight GROUP BY project_id, workflow_id) f
			JOIN workflows w ON w.project_id = f.project_id AND w.id = f.workflow_id
			JOIN projects p ON p.id = f.project_id
			WHERE f.n > w.concurrency OR f.in_project > p.concurrency`)));
		await pause(5);
	}
	return { over, looks };
};

test(`${WORKERS} workers complete ${total} runs, at two coordinators, then three`, async () => {
	const begun = Date.now();
	const watching = watch();
	const working = Promise.all(Array.from({ length: WORKERS }, (_, i) => work(i)));
	await Promise.race([working, db.until('SELECT count(*) FROM waiting', ([[n]]) => n < total / 2)]);
	coordinators.push(await Coordinator.start('claims-c', {}, urls));
	await working;
	const seconds = (Date.now() - begun) / 1000;
	const { over, looks } = await watching;
	console.log(`${total} runs in ${seconds} s, ${Math.round(total / seconds)} a second; ${looks} looks`);
	assert.deepEqual(over, []);
	assert.ok(looks > 50);
	for (const each of coordinators) assert.ok((await each.metric('interlock_claimed_runs_total')) > 0, each.name);
});

// -- What the journal says ------------------------------------------------------------------------------

test('each run was claimed once and completed once', async () => {
	assert.equal(claimed.length, total);
	assert.equal(new Set(claimed).size, total);
	const rows = await db.query(`SELECT event, epoch, outcome, count(*), count(DISTINCT run_id)
		FROM transitions WHERE event IN ('claim', 'run:complete') GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`);
	const all = [String(total), String(total)];
	assert.deepEqual(rows, [
		['claim', '1', 'accepted', ...all],
		['run:complete', '1', 'accepted', ...all],
	]);
	const left = await db.query(`SELECT (SELECT count(*) FROM waiting), (SELECT count(*) FROM in_flight),
		(SELECT count(*) FROM runs WHERE state <> 'success')`);
	assert.deepEqual(left, [['0', '0', '0']]);
});

// A completion's row is older than its commit, a claim's younger than what it has counted: in the order of
// their times no completion that a claim relied on comes after it.
test('no limit was exceeded at any moment, and each was reached', async () => {
	const rows = await db.query(`
		WITH moves AS (
			SELECT t.project_id, r.workflow_id, t.at, CASE t.event WHEN 'claim' THEN 1 ELSE -1 END AS d
			FROM transitions t JOIN runs r ON r.project_id = t.project_id AND r.id = t.run_id
			WHERE t.outcome = 'accepted' AND t.event IN ('claim', 'run:complete')
		), running AS (
			SELECT project_id, workflow_id,
				sum(d) OVER (PARTITION BY project_id ORDER BY at, d) AS in_project,
				sum(d) OVER (PARTITION BY project_id, workflow_id ORDER BY at, d) AS in_workflow
			FROM moves
		), most AS (
			SELECT 'project' AS what, p.concurrency, max(in_project) AS n
			FROM running JOIN projects p ON p.id = project_id GROUP BY p.id, p.concurrency
			UNION ALL
			SELECT 'workflow', w.concurrency, max(in_workflow) FROM running m
			JOIN workflows w ON w.project_id = m.project_id AND w.id = m.workflow_id
			GROUP BY w.project_id, w.id, w.concurrency
		)
		SELECT what, concurrency, n FROM most WHERE concurrency IS NOT NULL ORDER BY 1, 2`);
	assert.equal(rows.length, 3 + 2 * limited.length);
	for (const [what, limit, most] of rows)
		assert.ok(Number(most) <= Number(limit), `${most} in a ${what} with a limit of ${limit}`);
	const reached = rows.filter(([, limit, most]) => limit === most);
	assert.ok(reached.length >= rows.length / 2, `${reached.length} of ${rows.length} were reached`);
});

test('a strict list of queues got nothing else', async () => {
	const rows = await db.query(`SELECT DISTINCT r.queue FROM transitions t
		JOIN runs r ON r.project_id = t.project_id AND r.id = t.run_id
		WHERE t.event = 'claim' AND t.worker = 'strict'`);
	assert.deepEqual(rows, [['special']]);
});

// Claims are made one after another, so that their ids give the order; those of one transaction do not.
test('projects with equal demand are served in turn, within one', async () => {
	const rows = await db.query(`SELECT xid, project_id, count(*) FROM transitions
		WHERE event = 'claim' AND project_id IN (${fair.map(({ id }) => `'${id}'`)})
		GROUP BY xid, project_id ORDER BY min(min(id)) OVER (PARTITION BY xid)`);
	const each = Number(rows.reduce((sum, [, , n]) => sum + Number(n), 0)) / fair.length;
	const served = new Map(fair.map(({ id }) => [id, 0]));
	let widest = 0, claims = 0;
	rows.forEach(([xid, project, n], i) => {
		served.set(project, served.get(project) + Number(n));
		const counts = [...served.values()];
		if (rows[i + 1]?.[0] === xid || Math.max(...counts) >= each) return;
		widest = Math.max(widest, Math.max(...counts) - Math.min(...counts));
		claims++;
	});
	console.log(`${claims} claims of ${fair.length} projects, never further apart than ${widest}`);
	assert.ok(claims > 20);
	assert.ok(widest <= 1);
});

// -- Priority -------------------------------------------------------------------------------------------

test('an immediate run is not held up by older normal ones behind a limit', async () => {
	const { workflows: [one, free] } = newProject('two at most', 2, [1, null]);
	const other = newProject('another', null, [null]);
	await enqueue(one, 30);
	await enqueue(free, 30);
	await enqueue(other.workflows[0], 30);
	const worker = await coordinators[0].worker();
	await worker.join('worker:queue', { capacity: 64 });
	const claim = async (demand, until) => {
		const asked = await stage.claimOne(worker, { worker_name: 'p', queues: ['*'], demand }, until);
		const ids = asked.map(({ id }) => `'${id}'`);
		if (!ids.length) return [];
		const rows = await db.query(`SELECT id, workflow_id, priority FROM runs WHERE id IN (${ids})`);
		return rows.map(([id, workflow, priority]) => ({
			workflow,
			priority,
			complete: () => play(worker, asked.find((run) => run.id === id), 1),
		}));
	};
	// All of the other project, and what the limits leave of the first.
	const first = await claim(64);
	const ours = first.filter(({ workflow }) => workflow !== other.workflows[0]);
	assert.deepEqual([first.length, ours.length], [32, 2]);
	// The limit holds for it too; once there is room it is the first, in the workflow that is full or beside it.
	for (const workflow of [free, one]) {
		await enqueue(workflow, 1, 'default', 'immediate');
		assert.deepEqual(await claim(1, Date.now() + 1000), []);
		await Promise.all(ours.splice(0).map(({ complete }) => complete()));
		ours.push(...(await claim(1)));
		assert.deepEqual([ours[0].workflow, ours[0].priority], [workflow, '0']);
		ours.push(...(await claim(1)));
		assert.deepEqual([ours.length, ours[1].priority], [2, '1']);
	}
	// And of another project, whose older ones wait behind no limit.
	await enqueue(other.workflows[0], 20);
	await enqueue(free, 1, 'default', 'immediate');
	await ours[0].complete();
	const [urgent] = await claim(1);
	assert.deepEqual([urgent.workflow, urgent.priority], [free, '0']);
});

await stage.play(Math.max(120, RUNS / 50));
