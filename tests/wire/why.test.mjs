// `interlock why`, `accept` and `discard`: what is said of a run in each of its states, from what is stored; and what
// an operator makes of a late result, also while its worker, the janitor or another operator is at it.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { userInfo } from 'node:os';
import { Database, blocked, journalOf, lockOrder, lose, takeRun } from '../client/db.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, answer, databaseUrl, db, given, test } from './stage.mjs';

const { INTERLOCK_BIN = 'build/interlock' } = process.env;
const patient = { lost: { lease: '1d', late_completion: 'acknowledge' } };
const a = await Coordinator.start('why-a', patient);
const holder = new Database(databaseUrl);
const me = userInfo().username;

const interlock = (...words) =>
	new Promise((resolve) => {
		const child = execFile(INTERLOCK_BIN, ['-c', a.file, ...words], (error, out, err) =>
			resolve({ status: error?.code ?? 0, out, err }),
		);
		child.stdin.end();
	});
const why = async ({ run }) => {
	const { status, out, err } = await interlock('why', run, '--json');
	assert.deepEqual([status, err], [0, '']);
	return JSON.parse(out);
};
const says = ({ why: { why: text } }, ...patterns) => {
	for (const pattern of patterns) assert.match(text, pattern);
};
const lines = ({ timeline }) => timeline.map(({ what }) => what);
const commands = ({ next }) => next.map(({ command }) => command.split(' ')[1]);

const started = async (coordinator = a, name = 'w1', options = {}) => {
	const held = await Held.join(coordinator, await given(options), name);
	assert.equal((await held.say('run:start', stage.runStart())).status, 'ok');
	return held;
};
const untilJournal = async ({ run }, where) => {
	const [[n]] = await db.until(
		`SELECT count(*) FROM transitions WHERE run_id = '${run}' AND ${where}`,
		([[n]]) => n > 0,
	);
	assert.ok(n > 0, where);
};
const row = async ({ run }, columns) => {
	const [cells] = await db.query(`SELECT ${columns} FROM runs r WHERE id = '${run}'`);
	return cells;
};

// -- the facts --------------------------------------------------------------------------------------

test('a socket that breaks is a row of the journal of each run in flight that it held', async () => {
	const held = await started();
	const other = await given();
	await held.worker.cut();
	await untilJournal(held.id, `event = 'disconnect'`);
	const last = (await journalOf(db, held.id.run)).at(-1);
	assert.deepEqual(
		[last.outcome, last.code, last.from_state, last.to_state, last.worker, last.coordinator],
		['noted', 'connection_broken', 'started', 'started', 'w1', 'why-a'],
	);
	const { worker_id, address, close_code, active_at } = JSON.parse(last.message);
	assert.deepEqual([address, close_code], ['127.0.0.1', 1006]);
	assert.ok(worker_id && Date.parse(active_at) <= Date.parse(last.at));
	assert.equal((await row(held.id, `active_at = '${active_at}'`))[0], 't');
	assert.deepEqual(await journalOf(db, other.run), []);
	assert.equal((await held.rejoin(a)).status, 'ok');
	const back = (await journalOf(db, held.id.run)).at(-1);
	assert.deepEqual([back.event, back.outcome], ['phx_join', 'noted']);
	says(await why(held.id), /^The run was started by worker w1 /, /It is lost if its worker is silent for another /);
	await held.say('run:complete', stage.runComplete());
	assert.deepEqual((await interlock('verify', '--project', held.id.project)).status, 0);
});

test('how a socket ended: by its worker, by the coordinator', async () => {
	const b = await Coordinator.start('why-b', patient);
	const leaving = await started(b);
	leaving.worker.ws.close(1000);
	await untilJournal(leaving.id, `event = 'disconnect' AND code = 'closed_by_worker' AND message LIKE '%1000%'`);
	says(await why(leaving.id), /ago worker w1 closed its socket \(code 1000\); it has not come back\./);
	const held = await started(b, 'w2');
	await b.stop();
	await untilJournal(held.id, `event = 'disconnect' AND code = 'closed_by_coordinator' AND message LIKE '%1001%'`);
	says(await why(held.id), /the coordinator closed the socket of worker w2 \(code 1001\); it has not come back\./);
});

test('a coordinator that was killed has written nothing: its last sign of life is said', async () => {
	const c = await Coordinator.start('why-c', patient);
	const held = await started(c);
	await db.until(`SELECT count(*) FROM coordinators WHERE name = 'why-c'`, ([[n]]) => n === '1');
	await c.kill();
	await db.query(`UPDATE coordinators SET seen_at = seen_at - interval '2min' WHERE name = 'why-c'`);
	says(await why(held.id), /Coordinator why-c, which its worker was connected to, was last seen 2m \d+s ago\./);
	await lose(db, held.id);
	says(await why(held.id), /Coordinator why-c, which its worker was connected to, was last seen at \S+\. Its lease expired/);
	assert.ok((await journalOf(db, held.id.run)).every(({ event }) => event !== 'disconnect'));
});

test('a socket that ends after its worker has joined from another one is no news', async () => {
	const held = await started();
	const old = held.worker;
	held.worker = await a.worker();
	assert.equal((await held.join()).status, 'ok');
	const sockets = await a.metric('interlock_sockets');
	await old.cut();
	await a.untilMetric('interlock_sockets', (n) => n < sockets);
	await held.say('run:complete', stage.runComplete());
	const events = (await journalOf(db, held.id.run)).map(({ event }) => event);
	assert.deepEqual(events, ['claim', 'run:start', 'phx_join', 'run:complete']);
});

test('a worker that comes and goes does not fill the journal', async () => {
	const held = await started();
	for (let i = 0; i < 13; i++) assert.equal((await held.rejoin(a)).status, 'ok');
	const [[n, most]] = await db.query(`SELECT count(*) FILTER (WHERE event = 'phx_join'), count(*) FROM transitions
		WHERE run_id = '${held.id.run}' AND outcome = 'noted'`);
	assert.equal(n, '10');
	assert.ok(most <= 20, 'ten of each kind');
	assert.ok(lines(await why(held.id)).some((line) => /^its worker joined again \(the last of 3 more\)$/.test(line)));
	await held.say('run:complete', stage.runComplete());
});

test('a loss names its clock, by how much it had expired, and when the worker was last active', async () => {
	const held = await started();
	await lose(db, held.id);
	const loss = (await journalOf(db, held.id.run)).at(-1);
	assert.deepEqual([loss.event, loss.code, loss.late], ['lost', 'lease', true]);
	const { expired_at, active_at } = JSON.parse(loss.message);
	assert.ok(Date.parse(active_at) <= Date.parse(loss.at) && Date.parse(expired_at) < Date.parse(loss.at));
	const [message, at] = await row(held.id, `error_message, lost_at = finalized_at`);
	assert.match(message, /^Worker w1 gave no sign of life after 20\d\d-\S+ \S+ UTC: its lease expired at 20\d\d-\S+ \S+ UTC\.$/);
	assert.equal(at, 't');
	assert.equal(answer(await held.say('run:complete', stage.runComplete())).response.outcome, 'too_late');
});

test('a run that a late message made final remembers that it was lost; so does a revived one', async () => {
	await a.reload({ lost: { lease: '1d', late_completion: 'yield' } });
	const [late, back] = [await started(), await started()];
	await lose(db, late.id);
	await lose(db, back.id, { deadline: '1h' });
	assert.equal((await back.rejoin(a)).status, 'ok');
	assert.deepEqual(await row(back.id, 'state, lost_at IS NOT NULL, error_message'), ['started', 't', 'null']);
	says(await why(back.id), /It was lost at \S+, and revived\./);
	for (const held of [late, back]) await held.say('run:complete', stage.runComplete());
	assert.deepEqual(await row(late.id, 'state, lost_from, lost_at IS NOT NULL, error_message'), ['success', 'null', 't', 'null']);
	says(await why(late.id), /^The run ended at .*: success, /, /It had been lost at .*, since its lease had expired\. Its worker reported the result \S+ later, and the policy yield applied it\.$/);
	says(await why(back.id), /Its worker joined again \S+ later, and it went on\.$/);
	await a.reload(patient);
});

// -- every state ------------------------------------------------------------------------------------

test('why a run waits: no worker, the limits, what waits before it', async () => {
	const id = await given();
	const text = await why(id);
	says(text, new RegExp(`^The run has been waiting in queue ${id.queue} for \\S+\\.`));
	assert.deepEqual(commands(text), ['cancel', 'workers', 'run']);
	await db.query(`SELECT interlock_enqueue('${id.workflow}', queue => '${id.queue}')`);
	const held = await Held.join(a, id);
	const [[next]] = await db.query(`SELECT run_id FROM waiting WHERE workflow_id = '${id.workflow}'`);
	await db.query(`UPDATE workflows SET concurrency = 1 WHERE id = '${id.workflow}'`);
	await db.query(`UPDATE projects SET concurrency = 1 WHERE id = '${id.project}'`);
	await db.query(`SELECT interlock_enqueue('${id.workflow}', queue => '${id.queue}')`);
	const [[last]] = await db.query(`SELECT run_id FROM waiting WHERE workflow_id = '${id.workflow}' ORDER BY seq DESC LIMIT 1`);
	says(await why({ run: next }), /The limit of its workflow is reached: 1 of 1 runs are in flight\./, /The limit of its project is reached: 1 of 1 /);
	says(await why({ run: last }), /Before it wait 1 runs of its workflow and queue\./);
	says(await why(id), /^The run was claimed by worker w1 \S+ ago, and has not started\./);
	await held.say('run:complete', stage.runComplete());
	await db.query(`DELETE FROM waiting WHERE workflow_id = '${id.workflow}'`);
});

test('why a run was lost: at 80 columns, with what can be done', async () => {
	const held = await started();
	await held.worker.cut();
	await untilJournal(held.id, `event = 'disconnect'`);
	await lose(db, held.id);
	const text = await why(held.id);
	says(
		text,
		/^The run is lost\. Worker w1 claimed it at \S+ \S+ \S+ and was last active at \S+\./,
		/At \S+ the connection of worker w1 broke\. /,
		/Nothing has come from its worker since/,
	);
	assert.deepEqual(commands(text), ['retry', 'run']);
	const { status, out } = await interlock('why', held.id.run);
	assert.equal(status, 0);
	assert.deepEqual(out.split('\n').filter((line) => [...line].length > 80), []);
	assert.match(out, /\n20\d\d-\d\d-\d\d \d\d:\d\d:\d\d  declared lost: its \S+ had expired \S+ before\n/);
	assert.match(out, new RegExp(`\nWhat can be done:\n  interlock retry ${held.id.run}\n    The work is executed again`));
});

test('why a run is lost although its worker has reported, in run and journal too', async () => {
	const held = await started();
	await lose(db, held.id);
	await held.say('run:complete', stage.runComplete({ reason: 'fail', error_type: 'Bad' }));
	const text = await why(held.id);
	says(text, /The worker's socket was open when the run was lost\./, /A run:complete came \S+ after the loss: acknowledged without effect \(policy acknowledge\)\. That result \(failed\) is kept, and can be accepted\.$/);
	const { clock, late_result, late_policy } = text.why;
	assert.deepEqual([clock, late_result, late_policy], ['lease', 'failed', 'acknowledge']);
	assert.deepEqual(commands(text), ['accept', 'discard', 'retry', 'run']);
	const shown = JSON.parse((await interlock('run', held.id.run, '--json')).out);
	assert.equal(shown.why.why, text.why.why);
	const printed = (await interlock('run', held.id.run)).out;
	assert.match(printed.replace(/\s+/g, ' '), new RegExp(` why The run is lost\\. .* can be accepted\\. steps `));
	const journal = (await interlock('journal', held.id.run, '--json')).out.trim().split('\n').map(JSON.parse);
	assert.match(journal.at(-1).what, /^run:complete came \S+ after the loss: acknowledged/);
});

test('why: no such run, no id', async () => {
	assert.equal((await interlock('why', randomUUID())).status, 1);
	assert.equal((await interlock('why', 'x')).status, 2);
});

// -- accept, discard --------------------------------------------------------------------------------

const kept = async (policy = 'acknowledge', options = {}) => {
	const held = await started(a, 'w1', options);
	held.step = randomUUID();
	await held.say('step:start', stage.stepStart(held.step, held.id.job_a));
	await lose(db, held.id);
	if (policy !== 'acknowledge') await a.reload({ lost: { ...patient.lost, late_completion: policy } });
	held.output = randomUUID();
	await held.say(
		'step:complete',
		stage.stepComplete(held.step, held.id.job_a, { output_dataclip_id: held.output, output_dataclip: '{"n":2}' }),
	);
	held.complete = stage.runComplete({ reason: 'success', final_state: { n: 1 } });
	await held.say('run:complete', held.complete);
	if (policy !== 'acknowledge') await a.reload(patient);
	return held;
};

for (const policy of ['acknowledge', 'reject'])
	test(`accept: a result that was kept under ${policy} becomes the run's, with its steps`, async () => {
		const held = await kept(policy);
		const { id, step, output, complete } = held;
		const { status, out, err } = await interlock('accept', id.run);
		assert.deepEqual([status, out, err], [0, `run ${id.run} was lost and is success now\n`, '']);
		assert.deepEqual(
			await row(id, `state, lost_from, error_type, error_message, lost_at IS NOT NULL,
				(extract(epoch FROM finished_at) * 1000000)::bigint,
				(SELECT body FROM dataclips d WHERE d.id = r.final_dataclip_id),
				(SELECT state FROM work_orders o WHERE o.id = r.work_order_id)`),
			['success', 'null', 'null', 'null', 't', complete.timestamp, '{"n":1}', 'success'],
		);
		assert.deepEqual(await db.query(`SELECT exit_reason, output_dataclip_id FROM steps WHERE id = '${step}'`), [['success', output]]);
		const last = (await journalOf(db, id.run)).at(-1);
		const { by, database_role, overturned } = JSON.parse(last.message);
		assert.deepEqual(
			[last.event, last.from_state, last.to_state, last.outcome, by, database_role, overturned.lost_from],
			['accept', 'lost', 'success', 'accepted', me, 'interlock', 'started'],
		);
		says(await why(id), new RegExp(`Its worker reported the result \\S+ later, and ${me} accepted it at `));
		assert.equal((await interlock('verify', '--project', id.project)).status, 0);
		const again = await interlock('accept', id.run);
		assert.deepEqual([again.status, again.err], [0, '']);
		assert.match(again.out, new RegExp(`is success: its late result was accepted by ${me} at .* already\\n`));
		assert.equal((await journalOf(db, id.run)).at(-1).id, last.id, 'and no row');
		// Its worker says it once more, and learns that it is so.
		assert.deepEqual(answer(await held.say('run:complete', complete)), { status: 'ok', response: {} });
		const discard = await interlock('discard', id.run);
		assert.deepEqual([discard.status, discard.out], [1, '']);
		assert.match(discard.err, /is success: only a lost run has a late result to discard/);
	});

test('discard: the run stays lost, and accept is refused then', async () => {
	const { id } = await kept();
	const { status, out } = await interlock('discard', id.run);
	assert.deepEqual([status, out], [0, `run ${id.run} stays lost: its late result is discarded\n`]);
	assert.deepEqual(await row(id, 'state, lost_from'), ['lost', 'started']);
	says(await why(id), new RegExp(`${me} discarded that result at `));
	assert.deepEqual(commands(await why(id)), ['retry', 'run']);
	assert.equal((await interlock('discard', id.run)).status, 0, 'again');
	const { status: refused, err } = await interlock('accept', id.run);
	assert.equal(refused, 1);
	assert.match(err, new RegExp(`its late result was discarded by ${me} at .*; to execute the work again: interlock retry`));
	assert.equal((await interlock('verify', '--project', id.project)).status, 0);
});

test('accept refuses with a sentence where there is nothing to accept', async () => {
	const held = await started();
	assert.match((await interlock('accept', held.id.run)).err, /is started: only a lost run has a late result to accept/);
	await lose(db, held.id);
	const { status, err } = await interlock('accept', held.id.run);
	assert.equal(status, 1);
	assert.match(err, /is lost, and its worker has reported no result since/);
	await held.say('run:complete', stage.runComplete());
	await db.query(`UPDATE transitions SET message = '' WHERE run_id = '${held.id.run}' AND outcome = 'too_late'`);
	assert.match((await interlock('accept', held.id.run)).err, /its late result was not kept/);
	assert.equal((await interlock('accept', randomUUID())).status, 1);
	assert.equal((await interlock('accept')).status, 2);
	assert.equal((await interlock('accept', held.id.run, '--state', 'lost')).status, 2);
});

// Each of the two waits for the work order's lock while another session has it; the first one is served first.
const inOrder = async ({ work_order }, ...acts) => {
	await holder.query('BEGIN');
	await holder.query(lockOrder(work_order));
	const replies = [];
	for (const [i, act] of acts.entries()) {
		replies.push(act());
		await db.until(`SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted`, ([[n]]) => n > i);
	}
	await holder.query('COMMIT');
	return Promise.all(replies);
};

test('accept and a late message at once, in both orders', async () => {
	for (const first of ['accept', 'message']) {
		const held = await kept();
		await a.reload({ lost: { ...patient.lost, late_completion: 'yield' } });
		const accept = () => interlock('accept', held.id.run);
		const message = () => held.say('run:complete', stage.runComplete({ reason: 'crash', error_type: 'Later' }));
		const acts = first === 'accept' ? [accept, message] : [message, accept];
		const replies = await inOrder(held.id, ...acts);
		const [accepted, late] = first === 'accept' ? replies : replies.reverse();
		// A message that waits for a second is sent again, and so may come behind the other.
		if (accepted.status === 0) {
			assert.equal(accepted.status, 0);
			assert.equal(late.response.code, 'already_final');
			assert.deepEqual(await row(held.id, 'state'), ['success']);
		} else {
			assert.equal(late.status, 'ok');
			assert.match(accepted.err, /is crashed: only a lost run has a late result to accept/);
			assert.deepEqual(await row(held.id, 'state'), ['crashed']);
		}
		assert.equal((await interlock('verify', '--project', held.id.project)).status, 0);
		await a.reload(patient);
	}
});

test('two accepts, accept and discard at once: the first one decides', async () => {
	for (const [first, second] of [['accept', 'accept'], ['accept', 'discard'], ['discard', 'accept'], ['discard', 'discard']]) {
		const { id } = await kept();
		const [one, two] = await inOrder(id, () => interlock(first, id.run), () => interlock(second, id.run));
		assert.equal(one.status, 0);
		assert.equal(two.status, first === second ? 0 : 1, `${first}, ${second}: ${two.out}${two.err}`);
		const rows = (await journalOf(db, id.run)).filter(({ event }) => ['accept', 'discard'].includes(event));
		assert.deepEqual(rows.map(({ event }) => event), [first]);
	}
});

test('accept while the janitor takes the run: there is nothing to accept yet', async () => {
	const held = await started();
	await holder.query('BEGIN');
	await holder.query(lockOrder(held.id.work_order));
	await holder.query(takeRun(held.id.run));
	const accept = interlock('accept', held.id.run);
	await blocked(db, holder);
	await holder.query('COMMIT');
	const { status, err } = await accept;
	assert.equal(status, 1);
	assert.match(err, /is lost, and its worker has reported no result since/);
});

test('all that fit, after a question', async () => {
	const first = await kept();
	const other = await kept();
	const bulk = (...words) => interlock(...words, '--state', 'lost', '--since', '2h');
	const asked = await bulk('accept', '--workflow', first.id.workflow);
	assert.deepEqual([asked.status, asked.out], [1, '']);
	assert.match(asked.err, /stdin is not a terminal: give --yes/);
	const { status, out } = await bulk('accept', '--workflow', first.id.workflow, '--yes');
	assert.deepEqual([status, out], [0, `run ${first.id.run} was lost and is success now\n1 late results accepted, 0 not\n`]);
	assert.deepEqual(await row(other.id, 'state'), ['lost']);
	const none = await bulk('accept', '--workflow', first.id.workflow, '--yes');
	assert.deepEqual([none.status, none.out], [0, 'no lost run has a late result about which nothing is decided\n']);
	assert.equal((await bulk('discard', '--project', other.id.project, '--yes')).status, 0);
	assert.equal((await bulk('accept', '--project', other.id.project, '--yes')).out, none.out);
});

await stage.play();
