// Projects as an operator has them: exported and imported again, archived by what a file leaves out, deleted with all
// their runs. Runs are made at the same time, before and behind.

import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Database, blocked, fixture } from '../client/db.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, test } from './stage.mjs';

const { INTERLOCK_BIN } = process.env;
const folder = mkdtempSync(join(tmpdir(), 'interlock-projects-'));
stage.atEnd(() => rmSync(folder, { recursive: true, force: true }));
const urls = await stage.newDatabase('projects');
const a = await Coordinator.start('projects', {}, urls);
const db = new Database(urls.migrate_url);
const holder = new Database(urls.migrate_url);

const interlock = (...words) =>
	new Promise((resolve) => {
		const child = execFile(INTERLOCK_BIN, ['-c', a.file, ...words], (error, out, err) =>
			resolve({ status: error?.code ?? 0, out, err }));
		child.stdin.end();
	});
const done = async (...words) => {
	const { status, out, err } = await interlock(...words);
	assert.equal(status, 0, err);
	return out;
};
const post = (trigger) =>
	fetch(`http://${a.address}/i/${trigger}`, { method: 'POST', body: '{}' }).then(({ status }) => status);
const count = async (table, project) =>
	Number((await db.query(`SELECT count(*) FROM ${table} WHERE project_id = '${project}'`))[0][0]);
const verified = () => done('verify');
const file = (name, text) => {
	const path = join(folder, name);
	writeFileSync(path, typeof text === 'string' ? text : JSON.stringify(text));
	return path;
};

// A project's file with two workflows and a credential whose numbers no parser may touch.
const SECRET = '{"n": 1.10, "big": 0.10000000000000000001, "text": "a\\u00e9"}';
const made = () => {
	const credential = randomUUID();
	const workflow = (name) => {
		const [id, trigger, job, other] = Array.from({ length: 4 }, () => randomUUID());
		return {
			id, name, concurrency: 3,
			triggers: [{ id: trigger, type: 'webhook', enabled: true }],
			jobs: [
				{ id: job, name: 'one “é”', adaptor: 'x@1.0.0', body: 'fn(s => s)\n', credential_id: credential },
				{ id: other, name: 'two', adaptor: 'x@1.0.0', body: '' },
			],
			edges: [
				{ id: randomUUID(), source_trigger_id: trigger, target_job_id: job },
				{ id: randomUUID(), source_job_id: job, target_job_id: other, condition: 'on_job_failure', enabled: false },
			],
		};
	};
	const project = {
		id: randomUUID(), name: 'exported', options: { run_timeout_ms: 1000 }, save_dataclips: false,
		credentials: [{ id: credential, name: 'secret', body: {} }],
		workflows: [workflow('first'), workflow('second')],
	};
	return { project, text: JSON.stringify(project).replace('"body":{}', `"body":${SECRET}`) };
};

// -- export ---------------------------------------------------------------------------------------------

test('what export prints import takes back, and nothing changes', async () => {
	const { project, text } = made();
	await done('import', file('a.json', text));
	await done('trigger-key', project.workflows[0].triggers[0].id);
	const exported = await done('export', project.id);
	assert.ok(!exported.includes('0.10000000000000000001'), 'no secret');
	const said = await done('import', file('b.json', exported));
	assert.deepEqual(said.trim().split('\n').filter((line) => !line.endsWith(' unchanged')), []);
	assert.equal(said.trim().split('\n').length, 4);
	assert.equal(await done('export', project.id), exported);
});

test('with its credentials a project goes to another database as it is', async () => {
	const { project, text } = made();
	await done('import', file('a.json', text));
	await done('trigger-key', project.workflows[1].triggers[0].id);
	const { status, out, err } = await interlock('export', project.id, '--with-credentials');
	assert.equal(status, 0);
	assert.ok(out.includes(SECRET), 'byte for byte');
	assert.match(err, /^interlock: warning: .*secrets in clear\n$/);

	const other = await Coordinator.start('projects-other', {}, await stage.newDatabase('projects_other'));
	const there = (...words) =>
		new Promise((resolve) => {
			execFile(INTERLOCK_BIN, ['-c', other.file, ...words], (error, stdout, stderr) =>
				resolve({ status: error?.code ?? 0, out: stdout, err: stderr }));
		});
	const bare = await there('import', file('bare.json', await done('export', project.id)));
	assert.equal(bare.status, 1);
	assert.match(bare.err, /\(secret\) has no body, and none is stored/);
	assert.equal((await there('import', file('whole.json', out))).status, 0);
	assert.equal((await there('export', project.id, '--with-credentials')).out, out);
});

test('there is nothing to export of a project that is not there', async () => {
	const { status, err } = await interlock('export', randomUUID());
	assert.equal(status, 1);
	assert.match(err, /^interlock: no project /);
});

// -- import --prune -------------------------------------------------------------------------------------

const pruned = (project) => file('less.json', { ...project, credentials: [{ id: project.credentials[0].id, name: 'secret' }],
	workflows: project.workflows.slice(0, 1) });

test('import --prune archives what the file leaves out, says so first, and cancels what waits', async () => {
	const { project, text } = made();
	const whole = file('whole.json', text);
	await done('import', whole);
	const { id, triggers: [{ id: trigger }] } = project.workflows[1];
	const [, , , run] = (await done('enqueue', id)).split(/\s+/);
	const asked = await interlock('import', pruned(project), '--prune');
	assert.deepEqual([asked.status, asked.out], [1, `workflow ${id} (second) is not in the file: will be archived\n`]);
	assert.equal(await post(trigger), 200, 'nothing was done');

	const out = await done('import', pruned(project), '--prune', '--yes');
	assert.match(out, new RegExp(`^workflow ${id} \\(second\\) is not in the file.*`));
	assert.match(out, new RegExp(`workflow ${id} archived, 2 waiting runs cancelled\n$`));
	assert.equal(await post(trigger), 404);
	assert.match((await interlock('enqueue', id)).err, /is archived/);
	assert.match((await interlock('retry', run)).err, /is archived/);
	assert.deepEqual(await db.query(`SELECT DISTINCT state FROM runs WHERE workflow_id = '${id}'`), [['cancelled']]);
	assert.equal(await count('waiting', project.id), 0);
	assert.ok(!(await done('export', project.id)).includes(id));

	await done('import', whole);
	assert.equal(await post(trigger), 200, 'it is in the file again');
	await verified();
});

test('a run that is made before a workflow is archived is cancelled', async () => {
	const { project, text } = made();
	await done('import', file('whole.json', text));
	const { id } = project.workflows[1];
	await holder.query('BEGIN');
	await holder.query(`SELECT interlock_enqueue('${id}')`);
	const archiving = done('import', pruned(project), '--prune', '--yes');
	await blocked(db, holder);
	await holder.query('COMMIT');
	assert.match(await archiving, /archived, 1 waiting runs cancelled/);
	await verified();
});

test('a webhook that arrives while its workflow is archived makes no run', async () => {
	const { project, text } = made();
	await done('import', file('whole.json', text));
	const { id, triggers: [{ id: trigger }] } = project.workflows[1];
	await holder.query('BEGIN');
	await holder.query(`SELECT pg_advisory_xact_lock(hashtext('interlock workflow'), hashtext('${id}'))`);
	await holder.query(`UPDATE workflows SET archived_at = now() WHERE id = '${id}'`);
	const posted = post(trigger);
	await blocked(db, holder);
	await holder.query('COMMIT');
	assert.equal(await posted, 404);
	assert.equal(await count('work_orders', project.id), 0);
});

// -- delete ---------------------------------------------------------------------------------------------

// A run with steps, outputs and log lines that has ended.
const lived = async (id) => {
	const held = await Held.join(a, id);
	const step = randomUUID();
	await held.say('run:start', stage.runStart());
	await held.say('step:start', stage.stepStart(step, id.job_a, { input_dataclip_id: id.dataclip }));
	await held.say('run:log', { step_id: step, level: 'info', message: ['hello'], timestamp: `${Date.now()}000` });
	await held.say('step:complete', stage.stepComplete(step, id.job_a,
		{ output_dataclip_id: randomUUID(), output_dataclip: '{"a":1}' }));
	await held.say('run:complete', stage.runComplete());
	return held;
};
// The tables in which a project has rows.
const traces = async (project) => {
	const tables = await db.query(`SELECT c.relname FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid
		WHERE t.attname = 'project_id' AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1`);
	assert.ok(tables.length > 10);
	const left = [];
	for (const [table] of tables) if (await count(table, project)) left.push(table);
	return left;
};

test('delete does nothing unasked, nor to what is not there', async () => {
	const id = await fixture(db);
	const { status, out, err } = await interlock('delete', id.project);
	assert.equal(status, 1);
	assert.match(out, new RegExp(`^project ${id.project} \\(test\\): 1 workflows, 1 work orders, 0 runs in flight\n$`));
	assert.match(err, /nothing was done/);
	assert.equal(await count('waiting', id.project), 1);
	assert.match((await interlock('delete', randomUUID(), '--yes')).err, /^interlock: no project or workflow /);
	await done('delete', id.project, '--yes');
});

test('a project is deleted with everything', async () => {
	const id = await fixture(db);
	const beside = await fixture(db);
	await lived(id);
	assert.equal(await post(id.trigger), 200, 'and one waits');
	const before = await traces(id.project);
	for (const table of ['dataclips', 'log_lines', 'runs', 'steps', 'transitions', 'waiting']) assert.ok(before.includes(table), table);
	const out = await done('delete', id.project, '--yes');
	assert.match(out, /^cancelled 1 waiting runs$/m);
	assert.match(out, /^deleted 2 work orders, 2 runs, 1 steps, 3 dataclips, 1 log lines, \d+ journal rows$/m);
	assert.deepEqual(await traces(id.project), []);
	assert.deepEqual(await db.query(`SELECT count(*) FROM projects WHERE id = '${id.project}'`), [['0']]);
	assert.equal(await count('waiting', beside.project), 1);
	await verified();
	await done('delete', beside.project, '--yes');
});

test('a workflow is deleted, and its project and the other workflows stay', async () => {
	const { project, text } = made();
	await done('import', file('whole.json', text));
	const [one, two] = project.workflows;
	assert.equal(await post(one.triggers[0].id), 200);
	assert.equal(await post(two.triggers[0].id), 200);
	const exported = JSON.parse(await done('export', project.id));
	await done('delete', two.id, '--yes');
	const left = JSON.parse(await done('export', project.id));
	assert.deepEqual(left.workflows, exported.workflows.filter(({ id }) => id === one.id));
	assert.deepEqual(left.credentials, exported.credentials);
	assert.equal(await post(two.triggers[0].id), 404);
	for (const table of ['runs', 'work_orders', 'dataclips', 'waiting']) assert.equal(await count(table, project.id), 1, table);
	await verified();
});

test('what is in flight is not deleted, and goes on', async () => {
	const id = await fixture(db);
	const held = await Held.join(a, id);
	await held.say('run:start', stage.runStart());
	const { status, err } = await interlock('delete', id.project, '--yes');
	assert.equal(status, 1);
	assert.match(err, /^interlock: 1 runs are in flight/);
	assert.equal(await post(id.trigger), 404, 'it is archived');
	assert.equal((await held.say('run:complete', stage.runComplete())).status, 'ok');
	await done('delete', id.project, '--yes');
	assert.deepEqual(await traces(id.project), []);
});

test('delete goes on where it was killed', async () => {
	const id = await fixture(db);
	await db.query(`SELECT interlock_enqueue('${id.workflow}') FROM generate_series(1, 600)`);
	const [[last]] = await db.query(`SELECT max(id::text) FROM work_orders WHERE project_id = '${id.project}'`);
	await done('cancel', id.run);
	await holder.query('BEGIN');
	await holder.query(`SELECT FROM work_orders WHERE project_id = '${id.project}' AND id = '${last}' FOR UPDATE`);
	await db.query(`UPDATE runs SET state = 'cancelled', finished_at = now(), finalized_at = now(), revision = 1
		WHERE project_id = '${id.project}' AND state = 'available'`);
	await db.query(`INSERT INTO transitions (project_id, run_id, revision, event, from_state, to_state, outcome)
		SELECT project_id, id, 1, 'cancel', 'available', 'cancelled', 'accepted' FROM runs r
		WHERE project_id = '${id.project}' AND id <> '${id.run}'`);
	await db.query(`DELETE FROM waiting WHERE project_id = '${id.project}'`);
	const child = spawn(INTERLOCK_BIN, ['-c', a.file, 'delete', id.project, '--yes'], { stdio: 'ignore' });
	await blocked(db, holder);
	child.kill('SIGKILL');
	await holder.query('COMMIT');
	await db.until(`SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%FOR UPDATE%' AND pid <> pg_backend_pid()
		AND state = 'active'`, ([[n]]) => n === '0');
	const left = await count('work_orders', id.project);
	assert.ok(left > 0 && left < 601, `${left} left`);
	assert.equal(await post(id.trigger), 404);
	await verified();
	await done('delete', id.project, '--yes');
	assert.deepEqual(await traces(id.project), []);
});

// Times would depend on the machine; six times, because an index grows in depth. Beside its work orders a project has journal rows and dataclips of none.
test('to delete four times as much touches about four times as many pages and index entries', async () => {
	const there = await stage.newDatabase('projects_many');
	const many = await Coordinator.start('projects-many', {}, there);
	await many.stop();
	const owner = new Database(there.migrate_url);
	// Vacuuming touches pages too.
	for (const [table] of await owner.query(`SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`))
		await owner.query(`ALTER TABLE ${table} SET (autovacuum_enabled = false)`);
	const effort = async () => new Map((await owner.query(`
		SELECT 'pages', sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0)) FROM pg_statio_user_tables
		UNION ALL SELECT 'rows read one after another', sum(seq_tup_read) FROM pg_stat_user_tables
		UNION ALL SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'runs_work_order'`))
		.map(([what, n]) => [what, Number(n)]));
	const touched = async (n) => {
		const id = await fixture(owner);
		await owner.query(`SELECT interlock_enqueue('${id.workflow}') FROM generate_series(2, ${n})`);
		await owner.query(`UPDATE runs SET state = 'success', claimed_at = now(), started_at = now(), finished_at = now(),
			finalized_at = now() WHERE project_id = '${id.project}'`);
		await owner.query(`UPDATE work_orders SET state = 'success' WHERE project_id = '${id.project}'`);
		await owner.query(`DELETE FROM waiting WHERE project_id = '${id.project}'`);
		await owner.query(`WITH s AS (INSERT INTO steps (project_id, id, run_id, snapshot_id, job_id, exit_reason, finished_at)
				SELECT project_id, gen_random_uuid(), id, snapshot_id, '${id.job_a}', 'success', now() FROM runs
				WHERE project_id = '${id.project}' RETURNING id)
			INSERT INTO dataclips (project_id, id, type, body, source_id)
			SELECT '${id.project}', gen_random_uuid(), 'step_result', '{}', id FROM s`);
		await owner.query(`INSERT INTO dataclips (project_id, id, type, body)
			SELECT '${id.project}', gen_random_uuid(), 'saved_input', '{}' FROM generate_series(1, ${n})`);
		await owner.query(`INSERT INTO transitions (project_id, run_id, revision, event, outcome)
			SELECT '${id.project}', gen_random_uuid(), 1, 'phx_join', 'accepted' FROM generate_series(1, ${2 * n})`);
		await owner.query('SELECT pg_stat_force_next_flush()');
		const before = await effort();
		const out = execFileSync(INTERLOCK_BIN, ['-c', many.file, 'delete', id.project, '--yes'], { encoding: 'utf8' });
		assert.match(out, new RegExp(`^deleted ${n} work orders, ${n} runs, ${n} steps, ${2 * n} dataclips`, 'm'));
		await owner.until(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
			AND backend_type = 'client backend'`, ([[left]]) => left === '0');
		assert.deepEqual(await owner.query(`SELECT (SELECT count(*) FROM dataclips), (SELECT count(*) FROM transitions)`), [['0', '0']]);
		return new Map([...(await effort())].map(([what, n]) => [what, n - before.get(what)]));
	};
	const few = await touched(1_000), more = await touched(4_000);
	for (const [what, n] of more) assert.ok(n < 6 * few.get(what) + 1_000, `${what}: ${few.get(what)} of 1000, ${n} of 4000`);
	owner.close();
});

await stage.play(120);
