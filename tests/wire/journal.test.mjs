// The journal: what its rows say where a message was malformed or an output could not be stored; the
// metrics beside it; `interlock journal`, `verify` and `prune`. On a database of its own, since the other
// tests move runs by hand, and the journal knows nothing of that.

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { Database, blocked, fixture, journalOf, lose } from '../client/db.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, answer, databaseUrl, refused, test } from './stage.mjs';

const { INTERLOCK_BIN, DATABASE_URL, TEST_DATABASE_URL } = process.env;
const name = `interlock_journal_${process.pid}`;
const at = (url) => url.replace('/interlock?', `/${name}?`);
const superuser = (sql) => execFileSync('psql', ['-qX', TEST_DATABASE_URL, '-c', sql], { stdio: 'ignore' });
superuser(`CREATE DATABASE ${name} OWNER interlock_owner`);
stage.atEnd(() => superuser(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`));

const a = await Coordinator.start(
	'journal-a',
	{ lost: { late_completion: 'acknowledge' } },
	{ url: at(DATABASE_URL), migrate_url: at(databaseUrl) },
);
const db = new Database(at(databaseUrl));
const reader = new Database(at(databaseUrl));
const given = (options) => fixture(db, options);

const started = async (id) => {
	const held = await Held.join(a, id ?? (await given()));
	await held.say('run:start', stage.runStart());
	return held;
};
const finished = async (id) => {
	const held = await started(id);
	await held.say('run:complete', stage.runComplete());
	return held.id;
};
const last = async ({ run }) => (await journalOf(db, run)).at(-1);

// The command; resolves with its status and what it said.
const interlock = (...args) =>
	new Promise((resolve) => {
		execFile(INTERLOCK_BIN, ['-c', a.file, ...args], (error, out, err) =>
			resolve({ status: error?.code ?? 0, out, err }),
		);
	});

// -- The rows ---------------------------------------------------------------------------------------

test('a malformed message of a worker whose claim is over is answered superseded, and journaled', async () => {
	const held = await started();
	await db.query(`UPDATE runs SET claim_epoch = claim_epoch + 1 WHERE id = '${held.id.run}'`);
	for (const [event, message] of [
		['step:start', { step_id: 7 }],
		['step:complete', {}],
		['run:complete', { reason: 'nonsense' }],
		['run:start', [1]],
	]) {
		assert.deepEqual(answer(await held.say(event, message)), stage.superseded);
		const row = await last(held.id);
		assert.deepEqual([row.event, row.outcome, row.code], [event, 'refused', 'superseded']);
	}
	await db.query(`UPDATE runs SET claim_epoch = claim_epoch - 1 WHERE id = '${held.id.run}'`);
});

test('a malformed message of a lost run is refused as such, and says under which policy', async () => {
	const held = await started();
	await lose(db, held.id, { deadline: '-1s' });
	assert.deepEqual(
		answer(await held.say('run:complete', { reason: 'nonsense' })),
		refused('state', 'is invalid', 'invalid', 'lost'),
	);
	const { event, outcome, code, policy, late, from_state, to_state, message } = await last(held.id);
	assert.deepEqual(
		{ event, outcome, code, policy, late, from_state, to_state, message },
		{
			event: 'run:complete',
			outcome: 'refused',
			code: 'invalid',
			policy: 'acknowledge',
			late: true,
			from_state: 'lost',
			to_state: 'lost',
			message: '{"reason":"nonsense"}',
		},
	);
});

test('why an output could not be stored stands in the row of its step:complete', async () => {
	const held = await started();
	const step = randomUUID();
	await held.say('step:start', stage.stepStart(step, held.id.job_a));
	await db.query('ALTER TABLE dataclips ADD CONSTRAINT small CHECK (length(body) < 90000) NOT VALID');
	const warnings = { output_dataclip: ['could not be stored'] };
	const { status, response } = await held.say(
		'step:complete',
		stage.stepComplete(step, held.id.job_a, {
			output_dataclip_id: randomUUID(),
			output_dataclip: JSON.stringify('x'.repeat(100_000)),
		}),
	);
	assert.deepEqual([status, response.warnings], ['ok', warnings]);
	const row = await last(held.id);
	assert.deepEqual([row.outcome, JSON.parse(row.message)], ['accepted', { warnings }]);
	const end = await held.say('run:complete', stage.runComplete({ final_state: { x: 'x'.repeat(100_000) } }));
	assert.deepEqual(end.response.warnings, { final_state: ['could not be stored'] });
	assert.deepEqual(JSON.parse((await last(held.id)).message), { warnings: end.response.warnings });
	await db.query('ALTER TABLE dataclips DROP CONSTRAINT small');
});

test('what a foreign key refuses, whatever the statement sees, is journaled too', async () => {
	const held = await started();
	await db.query(`CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			RAISE 'gone' USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'steps_output_dataclip_id_fkey';
		END $$;
		CREATE TRIGGER gone BEFORE INSERT ON steps FOR EACH ROW EXECUTE FUNCTION gone()`);
	assert.deepEqual(
		answer(await held.say('step:start', stage.stepStart(randomUUID(), held.id.job_a))),
		refused('output_dataclip_id', 'does not exist', 'does_not_exist', 'started'),
	);
	const { event, outcome, code } = await last(held.id);
	assert.deepEqual([event, outcome, code], ['step:start', 'refused', 'does_not_exist']);
	await db.query('DROP TRIGGER gone ON steps; DROP FUNCTION gone()');
});

// -- The metrics --------------------------------------------------------------------------------------

const counts = async (...series) => Promise.all(series.map((one) => a.metric(`interlock_${one}`)));

test('the metrics count repetitions, superseded messages and how far the clocks are apart', async () => {
	const series = [
		'message_outcomes_total{event="run:start",outcome="replayed",policy="acknowledge"}',
		'message_outcomes_total{event="run:complete",outcome="superseded",policy="acknowledge"}',
		'message_outcomes_total{event="phx_join",outcome="stale",policy="acknowledge"}',
		'worker_clock_skew_seconds_bucket{le="60"}',
		'worker_clock_skew_seconds_bucket{le="300"}',
		'worker_clock_skew_seconds_count',
		'late_message_delay_seconds_count',
	];
	const held = await Held.join(a, await given());
	const before = await counts(...series);
	const start = stage.runStart({ timestamp: String((Date.now() - 120_000) * 1000) });
	await held.say('run:start', start); // two minutes slow
	await held.say('run:start', start); // the same again
	await held.say('run:start', {}); // without a time: nothing is known
	await db.query(`UPDATE runs SET claim_epoch = claim_epoch + 1 WHERE id = '${held.id.run}'`);
	await held.say('run:complete', stage.runComplete()); // to the second
	await held.rejoin(a);
	const after = await counts(...series);
	assert.deepEqual(after.map((n, i) => n - before[i]), [1, 1, 1, 1, 3, 3, 0]);
	await db.query(`UPDATE runs SET claim_epoch = claim_epoch - 1 WHERE id = '${held.id.run}'`);
});

test('the lost and those of them that ended after all are counted', async () => {
	const series = ['late_completions_total{policy="acknowledge"}', 'late_message_delay_seconds_count'];
	const held = await started();
	await lose(db, held.id, { deadline: '-1s' });
	const before = await counts(...series);
	await held.say('step:start', stage.stepStart(randomUUID(), held.id.job_a));
	await held.say('run:complete', stage.runComplete());
	assert.deepEqual(await counts(...series), [before[0] + 1, before[1] + 2]);
});

// -- interlock journal ----------------------------------------------------------------------------------

test('interlock journal shows the decisions about a run in their order', async () => {
	const run = (await finished()).run;
	const { status, out, err } = await interlock('journal', run);
	assert.deepEqual([status, err], [0, '']);
	const [head, ...rows] = out.trimEnd().split('\n');
	const column = (row, title) => row.slice(head.indexOf(title)).split(/ {2,}/)[0].trim();
	assert.deepEqual(
		rows.map((row) => [column(row, 'event'), column(row, 'to_state'), column(row, 'outcome')]),
		[
			['claim', 'claimed', 'accepted'],
			['run:start', 'started', 'accepted'],
			['run:complete', 'success', 'accepted'],
		],
	);
	for (const row of rows) assert.equal(column(row, 'run_id'), run);
});

const rowsOf = async (...args) => {
	const { status, out, err } = await interlock('journal', '--json', ...args);
	assert.deepEqual([status, err], [0, '']);
	return out.split('\n').filter(Boolean).map(JSON.parse);
};

test('interlock journal: by outcome, the group `late`, and no message unless it is asked for', async () => {
	const held = await started(await given({ secret: { password: 'opensesame' } }));
	const { run } = held.id;
	await held.say('run:start', stage.runStart({ timestamp: '1795485247440566' }));
	await lose(db, held.id, { deadline: '-1s' });
	await held.say('step:start', stage.stepStart(randomUUID(), held.id.job_a));
	await held.say('run:complete', stage.runComplete({ error_message: 'it was opensesame' }));
	await a.reload({ lost: { late_completion: 'reject' } });
	await held.say('run:complete', stage.runComplete());
	await a.reload({ lost: { late_completion: 'yield' } });
	await held.say('run:complete', stage.runComplete());
	await db.query(`UPDATE runs SET claim_epoch = claim_epoch + 1 WHERE id = '${run}'`);
	await held.say('run:complete', stage.runComplete());
	await db.query(`UPDATE runs SET claim_epoch = claim_epoch - 1 WHERE id = '${run}'`);
	await a.reload({ lost: { late_completion: 'acknowledge' } });

	const outcomes = async (...args) =>
		(await rowsOf(run, ...args)).map(({ event, outcome, policy }) => `${event} ${outcome} ${policy}`);
	assert.deepEqual(await outcomes('--outcome', 'late'), [
		'step:start too_late acknowledge',
		'run:complete too_late acknowledge',
		'run:complete refused reject',
		'run:complete yielded yield',
	]);
	assert.deepEqual(await outcomes('--outcome', 'refused'), [
		'run:start refused null',
		'run:complete refused reject',
		'run:complete refused null',
	]);
	assert.deepEqual(await outcomes('--limit', '1'), ['run:complete refused null']);
	for (const row of await rowsOf(run)) assert.equal(row.message, null);
	const shown = await interlock('journal', run, '--message');
	assert.match(shown.out, /it was \*\*\*/);
	assert.doesNotMatch(shown.out, /opensesame/);
});

test('interlock journal: the newest rows of all runs, and not further back than asked for', async () => {
	const run = await finished();
	const newest = await rowsOf('--limit', '2');
	assert.deepEqual(
		newest.map(({ event, run_id }) => [event, run_id]),
		[
			['run:start', run.run],
			['run:complete', run.run],
		],
	);
	// Rows of an hour ago are found behind the empty minutes, unless they are too old.
	const old = await given();
	await db.query(`INSERT INTO transitions (at, project_id, run_id, revision, event, outcome)
		SELECT now() - interval '70min', '${old.project}', '${old.run}', 0, 'run:start', 'implicit'`);
	const implicit = async (...args) => (await rowsOf('--outcome', 'implicit', ...args)).length;
	assert.deepEqual([await implicit(), await implicit('--since', '1h')], [1, 0]);
	await db.query(`DELETE FROM transitions WHERE run_id = '${old.run}'`);
});

test('interlock journal says what it does not understand', async () => {
	for (const [args, status, sentence] of [
		[['--outcome', 'lateness'], 2, /--outcome: got "lateness", expected one of late, /],
		[['--since', 'monday'], 2, /--since: got "monday"/],
		[['x'], 2, /RUN: got "x", expected a UUID/],
		[[randomUUID(), randomUUID()], 2, /takes at most one argument, \[RUN\]/],
		[[randomUUID()], 1, /no run /],
	]) {
		const { status: got, out, err } = await interlock('journal', ...args);
		assert.deepEqual([got, out], [status, '']);
		assert.match(err, sentence);
	}
});

// -- interlock verify -----------------------------------------------------------------------------------

const verify = async (...args) => {
	const { status, out, err } = await interlock('verify', '--json', ...args);
	assert.equal(err, '');
	const lines = out.split('\n').filter(Boolean).map(JSON.parse);
	return { status, sum: lines.pop(), lines };
};

test('interlock verify finds nothing wrong with all that went before', async () => {
	await a.reload({ transitions: { mode: 'observe' } });
	const again = await started(await given());
	await again.say('run:start', stage.runStart({ timestamp: '1795485247440566' }));
	for (const reason of ['success', 'fail', 'fail'])
		await again.say('run:complete', stage.runComplete({ reason, error_type: 'E' }));
	assert.deepEqual(
		(await journalOf(db, again.id.run)).map(({ outcome, revision }) => [outcome, revision]),
		[['accepted', 1], ['accepted', 2], ['observed', 2], ['accepted', 3], ['observed', 4], ['observed', 5]],
	);
	await a.reload({});
	const revived = await started();
	await lose(db, revived.id, { deadline: '1h' });
	await revived.rejoin(a);
	await given(); // waits, and has no journal
	const [[runs]] = await db.query('SELECT count(*) FROM runs');
	const { status, sum, lines } = await verify();
	assert.deepEqual(
		[status, sum, lines],
		[0, { runs: Number(runs), not_covered: 0, differences: 0 }, []],
	);
	const { out } = await interlock('verify');
	assert.equal(out, `${runs} runs, 0 not covered by the journal, 0 differences\n`);
});

// What is done to a run that has claimed, started and succeeded, or to its journal → what is said.
for (const [what, sql, sentence] of [
	[
		'another state',
		"UPDATE runs SET state = 'failed' WHERE id = RUN",
		'the run is failed, but the journal says success',
	],
	[
		'another revision',
		'UPDATE runs SET revision = 4 WHERE id = RUN',
		'the run is at revision 4, but the journal ends with 3',
	],
	[
		'the last row is missing',
		'DELETE FROM transitions WHERE run_id = RUN AND revision = 3',
		'the run is success, but the journal says started',
	],
	[
		'a row is missing',
		'DELETE FROM transitions WHERE run_id = RUN AND revision = 2',
		'a change is missing before revision 3',
	],
	[
		'the first row is missing',
		'DELETE FROM transitions WHERE run_id = RUN AND revision = 1',
		'the first rows of this run are missing from the journal',
	],
	[
		'all rows are missing',
		'DELETE FROM transitions WHERE run_id = RUN',
		'the journal has no row of this run',
	],
	[
		'a row that begins elsewhere',
		"UPDATE transitions SET from_state = 'claimed' WHERE run_id = RUN AND revision = 3",
		'a row of revision 3 begins from claimed, the one before it ended in started',
	],
	[
		'a value outside the set of its column',
		"UPDATE transitions SET policy = 'ignore' WHERE run_id = RUN AND revision = 3",
		'a row of revision 3 has an unknown event, state, outcome, policy or code',
	],
	[
		'one revision twice',
		`INSERT INTO transitions (project_id, run_id, revision, event, from_state, to_state, outcome)
		SELECT project_id, run_id, revision, event, to_state, to_state, outcome FROM transitions
		WHERE run_id = RUN AND revision = 3`,
		'two changes have revision 3',
	],
])
	test(`interlock verify: ${what}`, async () => {
		const id = await finished();
		assert.equal((await verify('--project', id.project)).status, 0);
		await db.query(sql.replaceAll('RUN', `'${id.run}'`));
		assert.deepEqual(await verify('--project', id.project), {
			status: 1,
			sum: { runs: 1, not_covered: 0, differences: 1 },
			lines: [{ project_id: id.project, run_id: id.run, difference: sentence }],
		});
		const { status, out } = await interlock('verify', '--project', id.project);
		assert.equal(status, 1);
		assert.equal(out.split('\n')[0], `${id.run}  ${sentence}`);
		await db.query(`DELETE FROM transitions WHERE run_id = '${id.run}';
			UPDATE runs SET inserted_at = now() - interval '1 year' WHERE id = '${id.run}'`);
		assert.deepEqual(
			(await verify('--project', id.project)).sum,
			{ runs: 1, not_covered: 1, differences: 0 },
			'nothing is known of a run older than the journal',
		);
	});

// What no foreign key prevents, done to a run that has started a step and to its rows → what is said of it.
for (const [sql, sentence] of [
	["UPDATE steps SET run_id = gen_random_uuid() WHERE id = 'STEP'", 'its step STEP is of a run that does not exist'],
	["UPDATE steps SET job_id = gen_random_uuid() WHERE id = 'STEP'",
		'its step STEP is of a job that its version of the workflow does not have'],
	["UPDATE steps SET input_dataclip_id = gen_random_uuid() WHERE id = 'STEP'",
		'its step STEP has an input that does not exist'],
	["DELETE FROM in_flight WHERE run_id = 'RUN'", 'it is in flight, but not in the table in_flight'],
	["UPDATE in_flight SET run_id = gen_random_uuid() WHERE run_id = 'RUN'",
		'it is in the table in_flight, but not in flight'],
	["DELETE FROM waiting WHERE run_id = 'WAITING'", 'it is available, but not in the table waiting'],
	["UPDATE waiting SET run_id = gen_random_uuid() WHERE run_id = 'WAITING'",
		'it is in the table waiting, but not available'],
	["INSERT INTO dataclips (project_id, id, type) VALUES (gen_random_uuid(), gen_random_uuid(), 'global')",
		'a dataclip of a project that does not exist'],
])
	test(`interlock verify: ${sentence.replace('STEP ', '')}`, async () => {
		const held = await started();
		const step = randomUUID();
		const [[waiting]] = await db.query(`SELECT run_id FROM interlock_retry('${held.id.run}')`);
		await held.say('run:start', stage.runStart());
		await held.say('step:start', stage.stepStart(step, held.id.job_a));
		const put = (text) => text.replace('STEP', step).replace('RUN', held.id.run).replace('WAITING', waiting);
		const kept = ['steps', 'waiting', 'in_flight'];
		assert.equal((await verify()).status, 0);
		for (const table of kept) await db.query(`CREATE TEMP TABLE kept_${table} AS TABLE ${table}`);
		await db.query(put(sql));
		const { status, lines } = await verify();
		assert.equal(status, 1);
		assert.ok(lines.some(({ difference }) => difference === put(sentence)), JSON.stringify(lines));
		for (const table of kept)
			await db.query(`DELETE FROM ${table}; INSERT INTO ${table} TABLE kept_${table}; DROP TABLE kept_${table}`);
		await db.query(`DELETE FROM dataclips d WHERE NOT EXISTS (SELECT FROM projects WHERE id = d.project_id)`);
	});

for (const event of ['step:start', 'step:complete'])
	test(`interlock verify: the ${event} of a step is missing`, async () => {
		const held = await started();
		const step = randomUUID();
		await held.say('run:start', stage.runStart());
		await held.say('step:start', stage.stepStart(step, held.id.job_a));
		await held.say('step:complete', stage.stepComplete(step));
		assert.equal((await verify('--project', held.id.project)).status, 0);
		await db.query(`DELETE FROM transitions WHERE step_id = '${step}' AND event = '${event}'`);
		const { status, lines } = await verify('--project', held.id.project);
		assert.deepEqual([status, lines.map(({ difference }) => difference)], [1, [`the journal has no ${event} of step ${step}`]]);
		await db.query(`UPDATE runs SET inserted_at = now() - interval '1 year' WHERE id = '${held.id.run}'`);
		assert.equal((await verify('--project', held.id.project)).status, 0, 'it may have been pruned');
	});

test('interlock verify: log lines whose run, or whose step, does not exist; or whose level', async () => {
	const id = await finished();
	const gone = randomUUID();
	const line = (run, step) => db.query(`INSERT INTO log_lines (project_id, run_id, id, step_id, level, message, timestamp)
		VALUES ('${id.project}', '${run}', interlock_uuid(), ${step ? `'${step}'` : 'NULL'}, 'info', 'x', now())`);
	await line(id.run, null);
	assert.equal((await verify('--project', id.project)).status, 0);
	await line(id.run, randomUUID());
	await line(gone, null);
	await line(gone, null);
	const { status, lines } = await verify('--project', id.project);
	assert.equal(status, 1);
	assert.deepEqual(new Map(lines.map(({ run_id, difference }) => [run_id, difference])), new Map([
		[id.run, '1 of its log lines are of a run or step that does not exist'],
		[gone, '2 of its log lines are of a run or step that does not exist'],
	].sort()));
	await db.query(`DELETE FROM log_lines WHERE project_id = '${id.project}'`);
	await line(id.run, null);
	await db.query(`UPDATE log_lines SET level = 'fatal' WHERE project_id = '${id.project}'`);
	assert.deepEqual((await verify('--project', id.project)).lines, [
		{ project_id: id.project, run_id: id.run, difference: '1 of its log lines have an unknown level' }]);
	await db.query(`DELETE FROM log_lines WHERE project_id = '${id.project}'`);
});

test('interlock verify: what happened before the oldest partition is not missed', async () => {
	const id = await finished();
	await db.query(`DELETE FROM transitions WHERE run_id = '${id.run}' AND revision < 3;
		UPDATE runs SET inserted_at = now() - interval '1 year' WHERE id = '${id.run}'`);
	assert.deepEqual(
		(await verify('--project', id.project)).sum,
		{ runs: 1, not_covered: 0, differences: 0 },
	);
});

test('interlock verify says what it does not understand', async () => {
	const [wrong, unknown] = [await interlock('verify', '--project', 'x'), await interlock('verify', '--project', randomUUID())];
	assert.deepEqual([wrong.status, unknown.status], [2, 1]);
	assert.match(unknown.err, /no project /);
});

// -- interlock prune --------------------------------------------------------------------------------------

// A partition of the day so many days ago, with a row in it.
const partition = async (days) => {
	const [[day]] = await db.query(`SELECT to_char(current_date - ${days}, 'YYYYMMDD')`);
	const part = `transitions_${day}`;
	await db.query(`CREATE TABLE ${part} PARTITION OF transitions
		FOR VALUES FROM (current_date - ${days}) TO (current_date - ${days - 1})`.replace(
		/current_date - (\d+)/g,
		(_, n) => `'${new Date(Date.now() - n * 86_400_000).toISOString().slice(0, 10)}'`,
	));
	await db.query(`INSERT INTO transitions (at, project_id, run_id, revision, event, outcome)
		VALUES (current_date - ${days} + interval '1h', '${randomUUID()}', '${randomUUID()}', 1, 'claim', 'accepted')`);
	return part;
};
const rows = async () => Number((await db.query('SELECT count(*) FROM transitions'))[0][0]);
const exists = async (part) => (await db.query(`SELECT to_regclass('${part}') IS NOT NULL`))[0][0] === 't';

test('interlock prune drops what is older than keep, and nothing else', async () => {
	const [old, older, kept] = [await partition(32), await partition(33), await partition(29)];
	const before = await rows();
	const preview = await interlock('prune', '--dry-run');
	assert.match(preview.out, new RegExp(`^partition .*\n${older} .*detach\n${old} .*detach\n$`));
	assert.deepEqual([await rows(), await exists(old)], [before, true]);
	const { status, out, err } = await interlock('prune');
	assert.deepEqual([status, err], [0, '']);
	assert.match(out, new RegExp(`^dropped ${older}, .*\ndropped ${old}, .*\n$`));
	assert.deepEqual([await exists(old), await exists(older), await exists(kept)], [false, false, true]);
	assert.equal(await rows(), before - 2);
	assert.deepEqual(await interlock('prune'), { status: 0, out: '', err: '' });
});

test('interlock prune leaves alone what another session has detached', async () => {
	const part = await partition(40);
	await db.query(`ALTER TABLE transitions DETACH PARTITION ${part}`);
	assert.deepEqual(await interlock('prune'), { status: 0, out: '', err: '' });
	assert.ok(await exists(part));
	await db.query(`DROP TABLE ${part}`);
});

for (const [whom, query] of [
	['the journal', () => 'SELECT count(*) FROM transitions'],
	['the partition itself', (part) => `SELECT count(*) FROM ${part}`],
])
	test(`interlock prune: while a session reads ${whom} no message waits, and it gives up`, async () => {
		const [old, next] = [await partition(50), await partition(49)];
		const held = await started();
		await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
		const [[seen]] = await reader.query(query(old));
		let pruned = false;
		const pruning = interlock('prune', '--wait', '15s').finally(() => (pruned = true));
		await blocked(db, reader);
		// It waits; messages do not. Nor does the making of partitions for the days to come.
		await db.query("SET lock_timeout = '500ms'");
		const step = randomUUID();
		for (const [event, message] of [
			['step:start', stage.stepStart(step, held.id.job_a)],
			['step:complete', stage.stepComplete(step, held.id.job_a)],
			['run:complete', stage.runComplete()],
		]) {
			assert.equal((await held.say(event, message)).status, 'ok');
			assert.ok(!pruned, `${event} is answered while it waits`);
		}
		const given_up = await pruning;
		assert.equal(given_up.status, 1);
		assert.equal(given_up.out, '');
		assert.equal(given_up.err, `interlock: ${old} is in use; the next prune will continue with it\n`);
		// The reader's snapshot is unchanged, and later sessions do not wait either.
		assert.deepEqual(await reader.query(query(old)), [[seen]]);
		assert.equal((await verify('--project', held.id.project)).status, 0);
		await db.query('SELECT interlock_make_partitions(); SET lock_timeout = 0');
		await reader.query('COMMIT');
		const done = await interlock('prune');
		assert.deepEqual([done.status, done.err], [0, '']);
		assert.match(done.out, new RegExp(`^dropped ${old}, .*\ndropped ${next}, .*\n$`));
	});

test('one prune at a time', async () => {
	await reader.query("SELECT pg_advisory_lock(hashtext('interlock prune'))");
	const { status, err } = await interlock('prune');
	assert.deepEqual([status, err], [1, 'interlock: another prune is running\n']);
	await reader.query("SELECT pg_advisory_unlock(hashtext('interlock prune'))");
});

await stage.play();
