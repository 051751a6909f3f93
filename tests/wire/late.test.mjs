// A worker sends messages about a run that has been declared lost: every cell of {policy} × {event} × {in the
// window, after it} × {channel kept open, joined again, other coordinator}, and revival at the join.
// What must come of each stands in the tables below, by hand.

import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { journalOf, lose, quote, sumOf } from '../client/db.mjs';
import { timestamp } from '../client/lib.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, db, given, test } from './stage.mjs';

// All runs are begun first, and must not be lost before their turn has come.
const patient = { lost: { lease: '1d' } };
const a = await Coordinator.start('late-a', patient);
const b = await Coordinator.start('late-b', patient);

// reply: `ok` {}, `step` {step_id}, `line` {log_line_id}, `late` (ok, too late), `no` (refused).
// What is not applied leaves every row as it was, and its
// contents as a dataclip that no step refers to. The journal names the policy that was in force: after the window
// `yield` is `acknowledge`. step: the exit reason of the step that was open at the
// loss, or that the message is about. A run:log is not journaled, and always stored.
const late = `
	policy       window  event          reply  run      order    step     journal
	yield        in      run:start      ok     lost     lost     -        yielded
	yield        in      step:start     step   lost     lost     lost     yielded
	yield        in      step:complete  step   lost     lost     success  yielded
	yield        in      run:complete   ok     crashed  crashed  lost     yielded
	yield        in      run:log        line   lost     lost     lost     -
	yield        after   run:start      late   lost     lost     -        too_late
	yield        after   step:start     late   lost     lost     none     too_late
	yield        after   step:complete  late   lost     lost     lost     too_late
	yield        after   run:complete   late   lost     lost     lost     too_late
	yield        after   run:log        line   lost     lost     lost     -
	acknowledge  in      run:start      late   lost     lost     -        too_late
	acknowledge  in      step:start     late   lost     lost     none     too_late
	acknowledge  in      step:complete  late   lost     lost     lost     too_late
	acknowledge  in      run:complete   late   lost     lost     lost     too_late
	acknowledge  in      run:log        line   lost     lost     lost     -
	acknowledge  after   run:start      late   lost     lost     -        too_late
	acknowledge  after   step:start     late   lost     lost     none     too_late
	acknowledge  after   step:complete  late   lost     lost     lost     too_late
	acknowledge  after   run:complete   late   lost     lost     lost     too_late
	acknowledge  after   run:log        line   lost     lost     lost     -
	reject       in      run:start      no     lost     lost     -        refused
	reject       in      step:start     no     lost     lost     none     refused
	reject       in      step:complete  no     lost     lost     lost     refused
	reject       in      run:complete   no     lost     lost     lost     refused
	reject       in      run:log        line   lost     lost     lost     -
	reject       after   run:start      no     lost     lost     -        refused
	reject       after   step:start     no     lost     lost     none     refused
	reject       after   step:complete  no     lost     lost     lost     refused
	reject       after   run:complete   no     lost     lost     lost     refused
	reject       after   run:log        line   lost     lost     lost     -`;

// Whose worker joins again, with its own epoch unless another is named, finds the run …
const revival = `
	policy       window  deadline  epoch  from     run
	yield        in      ahead     own    started  started
	yield        in      ahead     own    claimed  claimed
	yield        in      past      own    started  lost
	yield        after   ahead     own    started  lost
	yield        in      ahead     old    started  lost
	acknowledge  in      ahead     own    started  lost
	acknowledge  in      ahead     own    claimed  lost
	reject       in      ahead     own    started  lost
	reject       in      ahead     own    claimed  lost`;

const rowsOf = (table) => {
	const [head, ...rows] = table
		.trim()
		.split('\n')
		.map((line) => line.trim().split(/\s+/));
	return rows.map((row) => Object.fromEntries(row.map((cell, i) => [head[i], cell])));
};

// The installation's policy is `reject` before the reload below and `yield` after it; what differs
// stands in sections of the projects.
const ago = { in: '1min', after: '2h' };
const policies = (cells) => ({
	lost: { late_completion: 'yield', late_window: '1h' },
	...Object.fromEntries(
		cells
			.filter(({ policy }) => policy !== 'yield')
			.map(({ policy, id }) => [`project "${id.project}"`, { late_completion: policy }]),
	),
});

// -- A cell, from the claim to the loss -------------------------------------------------------------

const begin = async (cell) => {
	cell.held = await Held.join(a, cell.id);
	if (cell.event === 'run:start' || cell.from === 'claimed') return;
	cell.open = randomUUID();
	cell.held.say('run:start', stage.runStart());
	await cell.held.say('step:start', stage.stepStart(cell.open, cell.id.job_a));
};

const messages = ({ open, id }) => ({
	'run:start': stage.runStart(),
	'step:start': stage.stepStart(randomUUID(), id.job_b),
	'step:complete': stage.stepComplete(open, id.job_a, {
		output_dataclip_id: randomUUID(),
		output_dataclip: '{"n":1}',
	}),
	'run:complete': stage.runComplete({
		reason: 'crash',
		error_type: 'RuntimeError',
		final_state: { n: 1 },
	}),
	'run:log': { message: ['late'], level: 'info', timestamp: timestamp() },
});

// -- What must come of it ---------------------------------------------------------------------------

const checkReply = async ({ reply, event, id }, message, { status, response }) => {
	const [[lost_at]] = await db.query(
		`SELECT to_char(finalized_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
		FROM runs WHERE id = '${id.run}'`,
	);
	if (event === 'run:log') response.log_line_id &&= 'some id';
	assert.deepEqual(
		{ status, response },
		{
			ok: { status: 'ok', response: {} },
			step: { status: 'ok', response: { step_id: message.step_id } },
			line: { status: 'ok', response: { log_line_id: 'some id' } },
			late: {
				status: 'ok',
				response: { outcome: 'too_late', state: 'lost', lost_at, policy: 'acknowledge' },
			},
			no: stage.alreadyFinal('lost'),
		}[reply],
	);
};

const checkRows = async ({ event, journal, run, order, step, open, id }, message) => {
	const [[row]] = await db.query(`SELECT json_build_object('run', r.state, 'order', w.state,
		'step', (SELECT coalesce(exit_reason, 'open') FROM steps
			WHERE id = ${quote(event === 'step:start' ? message.step_id : open ?? null)}),
		'held', (SELECT count(*) FROM in_flight f WHERE f.run_id = r.id),
		'lost_from', r.lost_from, 'error_type', r.error_type, 'lines',
		(SELECT count(*) FROM log_lines WHERE run_id = r.id AND message = 'late'),
		'started', (extract(epoch FROM r.started_at) * 1000000)::bigint::text,
		'finished', (extract(epoch FROM r.finished_at) * 1000000)::bigint::text,
		'frozen', deadline_at < now(), 'versions', r.versions)
		FROM runs r JOIN work_orders w ON w.id = r.work_order_id WHERE r.id = '${id.run}'`);
	const found = JSON.parse(row);
	const stepOrNull = ['-', 'none'].includes(step) ? null : step;
	assert.deepEqual([found.run, found.order, found.step], [run, order, stepOrNull]);
	assert.equal(found.held, 0, 'it is not in flight');
	assert.ok(found.frozen, 'the deadline is frozen');
	assert.equal(found.lines, event === 'run:log' ? 1 : 0);
	if (journal !== 'yielded') return;
	if (event === 'run:start') {
		assert.equal(found.lost_from, 'started');
		assert.equal(found.started, message.timestamp);
		assert.equal(found.versions, '{"worker":"1.25.0"}');
	}
	if (event === 'run:complete') {
		assert.equal(found.lost_from, null);
		assert.equal(found.error_type, 'RuntimeError');
		assert.equal(found.finished, message.timestamp);
	}
	if (event === 'step:complete') {
		const [[body]] = await db.query(`SELECT d.body FROM steps s JOIN dataclips d
			ON d.id = s.output_dataclip_id WHERE s.id = '${open}'`);
		assert.equal(body, '{"n":1}');
	}
};

// What a yielding run gives up, as the journal has it.
const overturned = ({ event, from }, [[, lost_at]]) => ({
	lost_from: event === 'run:start' || from === 'claimed' ? 'claimed' : 'started',
	error_type: event === 'run:start' || from === 'claimed' ? 'LostAfterClaim' : 'LostAfterStart',
	lost_at,
});

const checkJournal = async (cell, message, before, loss) => {
	const { event, window, journal, run, id, by } = cell;
	const rows = (await journalOf(db, id.run)).slice(before.length);
	if (journal === '-') return assert.deepEqual(rows, []);
	assert.equal(rows.length, 1, 'one row');
	const [row] = rows;
	const policy = window === 'after' && cell.policy === 'yield' ? 'acknowledge' : cell.policy;
	assert.deepEqual(
		[row.event, row.outcome, row.code, row.policy, row.from_state, row.to_state],
		[event, journal, journal === 'refused' ? 'already_final' : null, policy, 'lost', run],
	);
	assert.deepEqual([row.late, row.worker, row.epoch, row.coordinator], [true, 'w1', 1, by.name]);
	assert.equal(row.revision, before.at(-1).revision + (journal === 'yielded' && event.startsWith('run:') ? 1 : 0));
	if (journal === 'yielded')
		return assert.deepEqual(JSON.parse(row.message), { overturned: overturned(cell, loss) });
	// The journal has the message without its contents, which are a dataclip.
	const { output_dataclip, final_state, ...plain } = message;
	const { output_dataclip: output, final_state: state, final_state_id, ...kept } = JSON.parse(row.message);
	assert.deepEqual(kept, plain);
	for (const [content, digest, clip] of [
		[output_dataclip, output, message.output_dataclip_id],
		[final_state, state, final_state_id],
	]) {
		if (!content) continue;
		const text = JSON.stringify(content);
		const sha256 = createHash('sha256').update(text).digest('hex');
		assert.deepEqual(digest, { length: text.length, sha256 });
		const rows = await db.query(`DELETE FROM dataclips WHERE id = '${clip}' RETURNING body`);
		assert.deepEqual(rows, [['{"n":1}']]);
	}
};

const lossOf = ({ run }) =>
	db.query(`SELECT id, to_json(finalized_at)#>>'{}' FROM runs WHERE id = '${run}'`);

const playCell = async (cell) => {
	const { id, held, event, channel } = cell;
	cell.by = channel === 'other' ? b : a;
	await lose(db, id, { ago: ago[cell.window], deadline: '-1s' });
	if (channel !== 'kept') assert.equal((await held.rejoin(cell.by)).status, 'ok');
	const before = await journalOf(db, id.run);
	const sum = await sumOf(db, id.project);
	const loss = await lossOf(id);
	const message = messages(cell)[event];
	await checkReply(cell, message, await held.say(event, message));
	await checkRows(cell, message);
	await checkJournal(cell, message, before, loss);
	if (/too_late|refused/.test(cell.journal)) assert.equal(await sumOf(db, id.project), sum);
};

// -- The tests --------------------------------------------------------------------------------------

const channels = ['kept', 'again', 'other'];
const cells = rowsOf(late).flatMap((row) => channels.map((channel) => ({ ...row, channel })));
for (const cell of cells) cell.id = await given();
const revivals = rowsOf(revival).map((row) => ({ ...row }));
for (const cell of revivals) cell.id = await given();

test('a reload changes the policies and leaves every socket as it is', async () => {
	await Promise.all([...cells, ...revivals].map(begin));
	const options = policies([...cells, ...revivals]);
	await Promise.all([a.reload(options), b.reload(options)]);
	for (const { held } of cells) assert.ok(held.worker.isOpen);
	const { status } = await cells[0].held.worker.ask('phoenix', 'heartbeat');
	assert.equal(status, 'ok');
});

for (const cell of cells)
	test(`${cell.policy}, ${cell.window} the window, ${cell.event}, ${cell.channel}`, () =>
		playCell(cell));

test('the metrics count the race by event, outcome and policy', async () => {
	const race = (outcome, policy, event) =>
		`interlock_message_outcomes_total{event="${event}",outcome="${outcome}",policy="${policy}"}`;
	// Kept and again at coordinator a, the third at b.
	assert.equal(await a.metric(race('yielded', 'yield', 'run:complete')), 2);
	assert.equal(await b.metric(race('yielded', 'yield', 'run:complete')), 1);
	assert.equal(await a.metric(race('too_late', 'yield', 'run:complete')), 0);
	assert.equal(await a.metric(race('too_late', 'acknowledge', 'run:complete')), 6);
	assert.equal(await b.metric(race('already_final', 'reject', 'step:start')), 2);
	// Those that ended after all; and how late they all were: a minute, or two hours.
	for (const [policy, runs] of [['yield', 2], ['acknowledge', 6], ['reject', 4]])
		assert.equal(await a.metric(`interlock_late_completions_total{policy="${policy}"}`), runs);
	for (const [le, messages] of [['60', 0], ['300', 24], ['3600', 24], ['21600', 48], ['+Inf', 48]])
		assert.equal(await a.metric(`interlock_late_message_delay_seconds_bucket{le="${le}"}`), messages);
});

const playRevival = async (cell) => {
	const { id, held, open, from, run, window } = cell;
	const deadline = cell.deadline === 'ahead' ? '1h' : '-1s';
	const revived = run !== 'lost';
	// Closed by its worker before the loss: not one of those that a revival opens again.
	const closed = randomUUID();
	if (open) {
		await held.say('step:start', stage.stepStart(closed, id.job_b));
		await held.say('step:complete', stage.stepComplete(closed, id.job_b, { reason: 'lost' }));
	}
	await lose(db, id, { ago: ago[window], deadline });
	if (cell.epoch === 'old')
		await db.query(`UPDATE runs SET claim_epoch = claim_epoch + 2 WHERE id = '${id.run}'`);
	const before = await journalOf(db, id.run);
	const sum = await sumOf(db, id.project);
	const loss = await lossOf(id);
	const metric = 'interlock_message_outcomes_total{event="phx_join",outcome="revived",policy="yield"}';
	const counted = await b.metric(metric);
	assert.equal((await held.rejoin(b)).status, 'ok');
	assert.equal(await b.metric(metric), counted + Number(revived));
	const rows = (await journalOf(db, id.run)).slice(before.length);
	if (!revived) {
		const noted = cell.epoch === 'own' ? ['phx_join noted lost'] : [];
		assert.deepEqual(rows.map(({ event, outcome, to_state }) => `${event} ${outcome} ${to_state}`), noted);
		assert.equal(await sumOf(db, id.project), sum);
		return;
	}
	assert.equal(rows.length, 1);
	const { event, outcome, from_state, to_state, policy, late, revision, message } = rows[0];
	assert.deepEqual(JSON.parse(message), { overturned: overturned(cell, loss) });
	assert.deepEqual(
		{ event, outcome, from_state, to_state, policy, late, revision },
		{
			event: 'phx_join',
			outcome: 'revived',
			from_state: 'lost',
			to_state: from,
			policy: 'yield',
			late: true,
			revision: before.at(-1).revision + 1,
		},
	);
	const [[row]] = await db.query(`SELECT json_build_object('run', r.state, 'order', w.state,
		'cleared', num_nulls(r.finished_at, r.finalized_at, r.error_type, r.lost_from),
		'held', (SELECT count(*) FROM in_flight f WHERE f.run_id = r.id),
		'leased', r.lease_expires_at > now() + interval '80s',
		'open', (SELECT exit_reason IS NULL AND finished_at IS NULL FROM steps WHERE id = ${quote(open ?? null)}),
		'closed', (SELECT exit_reason FROM steps WHERE id = '${closed}'))
		FROM runs r JOIN work_orders w ON w.id = r.work_order_id WHERE r.id = '${id.run}'`);
	assert.deepEqual(JSON.parse(row), {
		run,
		order: 'running',
		cleared: 4,
		held: 1,
		leased: true,
		open: open ? true : null,
		closed: open ? 'lost' : null,
	});
	// It goes on as if nothing had been.
	assert.equal((await held.say('run:complete', stage.runComplete())).status, 'ok');
	assert.equal((await journalOf(db, id.run)).at(-1).outcome, 'accepted');
};

for (const cell of revivals)
	test(
		`revival: ${cell.policy}, ${cell.window} the window, deadline ${cell.deadline}, `
			+ `${cell.epoch} epoch, lost from ${cell.from} → ${cell.run}`,
		() => playRevival(cell),
	);

test('a revived run may exceed the limits of its workflow or its project, and that is counted', async () => {
	const metric = 'interlock_message_outcomes_total{event="phx_join",outcome="over_limit",policy="yield"}';
	for (const table of ['workflows', 'projects']) {
		const id = await given();
		const held = await Held.join(a, id);
		await lose(db, id, { deadline: '1h' });
		await db.query(`UPDATE ${table} SET concurrency = 1 WHERE id = '${id[table.slice(0, -1)]}'`);
		const before = await b.metric(metric);
		await held.rejoin(b);
		assert.equal(await b.metric(metric), before, 'no other coordinator is registered');
		await lose(db, id, { deadline: '1h' });
		const [[, run]] = await db.query(`SELECT * FROM interlock_retry('${id.run}')`);
		await Held.join(a, { ...id, run });
		await held.rejoin(b);
		assert.equal(await b.metric(metric), before + 1);
		const [[n]] = await db.query(`SELECT count(*) FROM in_flight WHERE project_id = '${id.project}'`);
		assert.equal(n, '2');
	}
});

test('under yield a whole tail is taken: a new step, its end, one whose start was lost, the run', async () => {
	const id = await given();
	const held = await Held.join(a, id);
	const [first, second] = [randomUUID(), randomUUID()];
	await held.say('run:start', stage.runStart());
	await lose(db, id, { deadline: '-1s' });
	for (const [event, message] of [
		['step:start', stage.stepStart(first, id.job_a)],
		['step:complete', stage.stepComplete(first, id.job_a, { reason: 'fail' })],
		['step:complete', stage.stepComplete(second, id.job_b)],
		['run:complete', stage.runComplete({ reason: 'fail', final_state: { n: 1 } })],
	])
		assert.equal((await held.say(event, message)).status, 'ok');
	const rows = await db.query(`SELECT r.state, d.body, s.exit_reason FROM runs r
		JOIN dataclips d ON d.id = r.final_dataclip_id JOIN run_steps rs ON rs.run_id = r.id
		JOIN steps s ON s.id = rs.step_id WHERE r.id = '${id.run}' ORDER BY s.exit_reason`);
	assert.deepEqual(rows, [
		['failed', '{"n":1}', 'fail'],
		['failed', '{"n":1}', 'success'],
	]);
	const outcomes = (await journalOf(db, id.run)).slice(-4).map((row) => row.outcome);
	assert.deepEqual(outcomes, ['yielded', 'yielded', 'yielded', 'yielded']);
});

for (const [reason, state] of Object.entries({
	success: 'success',
	fail: 'failed',
	crash: 'crashed',
	cancel: 'cancelled',
	kill: 'killed',
	exception: 'exception',
}))
	for (const from of ['claimed', 'started'])
		test(`under yield a run lost from ${from} takes the reason ${reason}`, async () => {
			const id = await given();
			const held = await Held.join(a, id);
			if (from === 'started') await held.say('run:start', stage.runStart());
			await lose(db, id, { deadline: '-1s' });
			assert.equal((await held.say('run:complete', stage.runComplete({ reason }))).status, 'ok');
			const rows = await db.query(`SELECT r.state, w.state, r.lost_from FROM runs r
				JOIN work_orders w ON w.id = r.work_order_id WHERE r.id = '${id.run}'`);
			assert.deepEqual(rows, [[state, state, 'null']]);
		});

test('late_window = 0 is forever', async () => {
	const id = await given();
	const held = await Held.join(a, id);
	await lose(db, id, { ago: '20 days', deadline: '-1s' });
	await a.reload({ lost: { late_window: '0' } });
	assert.deepEqual(stage.answer(await held.say('run:complete', stage.runComplete())), {
		status: 'ok',
		response: {},
	});
	assert.equal((await journalOf(db, id.run)).at(-1).outcome, 'yielded');
});

await stage.play();
