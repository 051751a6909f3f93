// What these tests share: a stage of their own, the moment when a janitor enforces a clock, workers that
// have many runs.

import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { Database } from '../../client/db.mjs';
import { Coordinator, Held, claimOne, newDatabase } from '../../wire/stage.mjs';

// Seconds: the shortest lease there is, and how often these janitors look.
export const LEASE = 75, INTERVAL = 1;
export const options = ({ lost, ...more } = {}) => ({
	janitor: { interval: `${INTERVAL}s` },
	lost: { lease: `${LEASE}s`, ...lost },
	...more,
});

// A new database, and coordinators of these names on it.
export const stageFor = async (name, names, more) => {
	const urls = await newDatabase(name);
	const coordinators = [];
	for (const each of names) coordinators.push(await Coordinator.start(each, options(more), urls));
	return { urls, db: new Database(urls.migrate_url), coordinators };
};

// Resolves when its janitor enforces this clock, "lease" or "deadline".
export const enforces = async (coordinator, clock) => {
	for (const end = Date.now() + 140_000; Date.now() < end; await pause(100))
		if (await coordinator.metric(`interlock_janitor_active{clock="${clock}"}`)) return;
	assert.fail(`${coordinator.name} does not enforce the ${clock}`);
};

// As every worker does, so that it is not taken for dead.
export const beat = (worker, ms = 20_000) => {
	const timer = setInterval(() => worker.ask('phoenix', 'heartbeat').catch(() => {}), ms);
	worker.closed.then(() => clearInterval(timer));
};

// So many runs of the project, claimed and joined by one worker that goes on beating (or not).
export const hold = async (coordinator, id, n, { worker_name = 'w', beats = true } = {}) => {
	const worker = await coordinator.worker();
	await worker.join('worker:queue', { capacity: Math.min(n, 64) });
	const helds = [];
	while (helds.length < n) {
		const claim = { worker_name, queues: [id.queue], demand: Math.min(64, n - helds.length) };
		const runs = await claimOne(worker, claim);
		assert.ok(runs.length, 'there are runs to hold');
		for (const { id: run, token } of runs)
			helds.push(Object.assign(new Held(), { worker, id: { ...id, run }, topic: `run:${run}`, token }));
	}
	await joinAll(helds);
	if (beats) beat(worker);
	return helds;
};

export const joinAll = async (helds) => {
	for (const { status, response } of await Promise.all(helds.map((held) => held.join())))
		assert.equal(status, 'ok', JSON.stringify(response));
};

// Their worker is gone; another socket of the same one joins them all with the tokens that it has.
export const comeBack = async (helds, coordinator) => {
	const worker = await coordinator.worker();
	for (const held of helds) held.worker = worker;
	await worker.join('worker:queue', { capacity: Math.min(helds.length, 64) });
	await joinAll(helds);
	beat(worker);
};

export const sayAll = async (helds, event, payload) => {
	const replies = await Promise.all(helds.map((held) => held.say(event, payload())));
	for (const { status, response } of replies) assert.equal(status, 'ok', JSON.stringify(response));
};

// Behind the locks, as a statement of the daemon would.
export const alter = async (db, set, where) => {
	await db.query('BEGIN');
	await db.query(`SELECT FROM work_orders WHERE (project_id, id) IN (SELECT project_id, work_order_id
		FROM runs WHERE ${where}) ORDER BY project_id, id FOR NO KEY UPDATE`);
	const rows = await db.query(`UPDATE runs SET ${set} WHERE ${where} RETURNING id`);
	await db.query('COMMIT');
	return rows.length;
};

// The run, as an object, once holds(run); or as it is after so many milliseconds.
export const runOnce = async (db, run, holds, ms = 20_000) => {
	const text = `SELECT row_to_json(x) FROM (SELECT r.*, w.state AS work_order_state,
		extract(epoch FROM r.finalized_at) * 1000 AS lost_at,
		extract(epoch FROM r.finalized_at - r.deadline_at) AS beyond,
		r.finalized_at > r.lease_expires_at AS lease_over
		FROM runs r JOIN work_orders w ON w.project_id = r.project_id AND w.id = r.work_order_id
		WHERE r.id = '${run}') x`;
	const parse = (rows) => JSON.parse(rows[0].join('|'));
	const row = parse(await db.until(text, (rows) => holds(parse(rows)), ms));
	assert.ok(holds(row), `run ${run} is ${row.state}, epoch ${row.claim_epoch}`);
	return row;
};
export const lost = ({ state }) => state === 'lost';

// What became of all runs of a project, as {state: how many}.
export const states = async (db, project) =>
	Object.fromEntries(
		(await db.query(`SELECT state, count(*) FROM runs WHERE project_id = '${project}'
			GROUP BY state ORDER BY state`)).map(([state, n]) => [state, Number(n)]),
	);

// How often each thing happened to the runs of a project, as {"event outcome": how many}.
export const journal = async (db, project) =>
	Object.fromEntries(
		(await db.query(`SELECT event, outcome, count(*) FROM transitions
			WHERE project_id = '${project}' GROUP BY 1, 2 ORDER BY 1, 2`)).map(
			([event, outcome, n]) => [`${event} ${outcome}`, Number(n)],
		),
	);
