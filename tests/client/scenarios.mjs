// Whole runs: a project is imported and a run enqueued with the operator's command, our own worker
// executes it against a running daemon, and what then stands in the database is compared.
//
//   node scenarios.mjs [-v]    INTERLOCK_URL=ws://… DATABASE_OWNER_URL=… WORKER_SECRET_FILE=… INTERLOCK_CONF=…
//
// INTERLOCK_BIN names the command where it is not build/interlock.

import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Database, empty } from './db.mjs';
import { all, assert } from './recording.mjs';

const { INTERLOCK_URL, DATABASE_OWNER_URL, WORKER_SECRET_FILE, INTERLOCK_CONF, INTERLOCK_BIN } = process.env;
const file = (path) => fileURLToPath(new URL(path, import.meta.url));
const db = new Database(DATABASE_OWNER_URL);
const folder = mkdtempSync(join(tmpdir(), 'scenarios-'));
process.on('exit', () => rmSync(folder, { recursive: true }));

// Resolves with {code, output}: what a program says before it fails is part of the finding.
const execute = (program, ...args) =>
	new Promise((resolve) =>
		execFile(program, args, { timeout: 60_000 }, (error, stdout, stderr) =>
			resolve({ code: error ? error.code : 0, output: stdout + stderr }),
		),
	);

const interlock = async (...args) => {
	const { code, output } = await execute(
		INTERLOCK_BIN ?? file('../../build/interlock'),
		'-c',
		INTERLOCK_CONF,
		...args,
	);
	assert(code === 0, `interlock ${args[0]} left with ${code}:`, output);
};

const written = (name, value) => {
	const path = join(folder, name);
	writeFileSync(path, JSON.stringify(value));
	return path;
};

// jobs: name → body; edges: [source, target, condition], "trigger" being the trigger.
const SCENARIOS = [
	{
		name: 'success',
		jobs: {
			a: `export default [(s) => { console.log('in a', { n: 1 }); return { ...s, a: 1 }; }]`,
			b: `export default [(s) => ({ ...s, b: 2 })]`,
		},
		edges: [['a', 'b', 'on_job_success']],
		rows: {
			run: ['success', 'null', 'success', '0'],
			final: ['{"data":{"n":7},"a":1,"b":2}'],
			steps: ['a success null', 'b success null'],
			[`SELECT message, level, s.job_id = :a FROM log_lines l JOIN steps s ON s.id = l.step_id
				WHERE l.run_id = :run AND source = 'JOB'`]: ['in a {"n":1} info t'],
			[`SELECT a.output_dataclip_id = b.input_dataclip_id, a.input_dataclip_id = r.dataclip_id
				FROM steps a, steps b, runs r
				WHERE a.job_id = :a AND b.job_id = :b AND r.id = :run`]: ['t t'],
		},
	},
	{
		name: 'a job that throws',
		jobs: { a: `export default [() => { throw new Error('boom'); }]` },
		rows: {
			run: ['failed', 'JobError', 'failed', '0'],
			steps: ['a fail JobError'],
			'SELECT error_message FROM runs WHERE id = :run': ['boom'],
		},
	},
	{
		name: 'a failure that another job takes care of',
		jobs: {
			a: `export default [() => { throw new Error('boom'); }]`,
			b: `export default [(s) => ({ data: Object.keys(s.errors).length })]`,
		},
		edges: [['a', 'b', 'on_job_failure']],
		rows: {
			run: ['success', 'null', 'success', '0'],
			final: ['{"data":1}'],
			steps: ['a fail JobError', 'b success null'],
		},
	},
	{
		name: 'a ReferenceError',
		jobs: { a: `export default [() => nope()]` },
		rows: {
			run: ['crashed', 'RuntimeCrash', 'crashed', '0'],
			steps: ['a crash ReferenceError'],
		},
	},
	{
		name: 'two leaves',
		jobs: {
			a: `export default [(s) => s]`,
			b: `export default [() => ({ data: 'b' })]`,
			c: `export default [() => ({ data: 'c' })]`,
		},
		edges: [
			['a', 'b', 'always'],
			['a', 'c', 'always'],
		],
		rows: {
			run: ['success', 'null', 'success', '0'],
			final: ['{":b":{"data":"b"},":c":{"data":"c"}}'],
			steps: ['a success null', 'b success null', 'c success null'],
		},
	},
	{
		name: 'a job that returns 42',
		jobs: { a: `export default [() => 42]` },
		rows: {
			run: ['success', 'null', 'success', '0'],
			final: ['42'],
			steps: ['a success null'],
		},
	},
	{
		name: 'an output of 9 MB',
		jobs: { a: `export default [() => ({ data: 'x'.repeat(9e6) })]` },
		rows: {
			run: ['success', 'null', 'success', '0'],
			steps: ['a success null'],
			[`SELECT length(body) FROM dataclips d JOIN runs r ON r.final_dataclip_id = d.id
				WHERE r.id = :run`]: [String(9e6 + '{"data":""}'.length)],
		},
	},
	{
		name: 'an output beyond the limit, the state kept as the final one',
		jobs: { a: `export default [() => ({ data: 'x'.repeat(11e6) })]` },
		rows: {
			run: ['success', 'null', 'success', '0'],
			'SELECT output_dataclip_id FROM steps WHERE job_id = :a': ['null'],
			[`SELECT length(body) FROM dataclips d JOIN runs r ON r.final_dataclip_id = d.id
				WHERE r.id = :run`]: [String(11e6 + '{"data":""}'.length)],
		},
	},
	{
		name: 'a secret in the log',
		credential: { user: 'admin', password: 'correct horse' },
		jobs: {
			a: `export default [({ configuration }) => {
				console.log('password:', configuration.password);
				console.log(configuration);
				return { data: configuration.password.length };
			}]`,
		},
		rows: {
			run: ['success', 'null', 'success', '0'],
			final: ['{"data":13}'],
			"SELECT message FROM log_lines WHERE run_id = :run AND source = 'JOB' ORDER BY id": [
				'password: ***',
				'{"user":"***","password":"***"}',
			],
			"SELECT count(*) FROM log_lines WHERE run_id = :run AND message LIKE '%horse%'": ['0'],
		},
	},
	{
		name: 'nothing is kept',
		save_dataclips: false,
		jobs: { a: `export default [(s) => ({ ...s, a: 1 })]`, b: `export default [(s) => s]` },
		edges: [['a', 'b', 'on_job_success']],
		rows: {
			run: ['success', 'null', 'success', '0'],
			steps: ['a success null', 'b success null'],
			[`SELECT count(*) FROM steps s JOIN dataclips d ON d.id = s.output_dataclip_id
				WHERE s.project_id = :project AND d.wiped_at IS NOT NULL`]: ['2'],
			'SELECT count(*) FROM dataclips WHERE project_id = :project AND body IS NOT NULL': [
				'0',
			],
		},
	},
	{
		name: 'a run that ends before it starts',
		jobs: { a: `export default [(s) => { let let }]` },
		rows: {
			run: ['crashed', 'CompileError', 'crashed', '0'],
			'SELECT started_at, final_dataclip_id FROM runs WHERE id = :run': ['null null'],
			'SELECT count(*) FROM steps WHERE run_id = :run': ['0'],
		},
	},
];

// What most scenarios look at, by name.
const QUERIES = {
	run: `SELECT unnest(ARRAY[r.state, r.error_type, w.state,
			(SELECT count(*) FROM in_flight WHERE run_id = r.id)::text])
		FROM runs r JOIN work_orders w ON w.id = r.work_order_id WHERE r.id = :run`,
	final: `SELECT body FROM dataclips d JOIN runs r ON r.final_dataclip_id = d.id WHERE r.id = :run`,
	steps: `SELECT j.name, s.exit_reason, s.error_type FROM steps s
		JOIN snapshot_jobs j USING (snapshot_id, job_id) WHERE run_id = :run ORDER BY j.name`,
};

const project = ({ name, jobs, edges = [], credential, save_dataclips = true }) => {
	const ids = Object.fromEntries(
		['project', 'workflow', 'trigger', 'credential', ...Object.keys(jobs)].map((key) => [
			key,
			randomUUID(),
		]),
	);
	const edge = ([source, target, condition]) => ({
		id: randomUUID(),
		[source === 'trigger' ? 'source_trigger_id' : 'source_job_id']: ids[source],
		target_job_id: ids[target],
		condition,
		enabled: true,
	});
	const job = ([job, body]) => ({
		id: ids[job],
		name: job,
		adaptor: '@openfn/language-common@3.2.3',
		body,
		credential_id: credential ? ids.credential : null,
	});
	const workflow = {
		id: ids.workflow,
		name,
		jobs: Object.entries(jobs).map(job),
		triggers: [{ id: ids.trigger, type: 'webhook', enabled: true }],
		edges: [['trigger', 'a', 'always'], ...edges].map(edge),
	};
	const credentials = credential
		? [{ id: ids.credential, name: 'secret', body: credential }]
		: [];
	return [ids, { id: ids.project, name, save_dataclips, credentials, workflows: [workflow] }];
};

const play = async (scenario) => {
	await empty(db);
	const [ids, description] = project(scenario);
	await interlock('import', written('project.json', description));
	await interlock('enqueue', ids.workflow, '--input', written('input.json', { data: { n: 7 } }));
	[[ids.run]] = await db.query(`SELECT id FROM runs WHERE workflow_id = '${ids.workflow}'`);

	const flags = ['--experimental-vm-modules', '--no-warnings'];
	const worker = [
		file('worker.mjs'),
		'--url',
		`${INTERLOCK_URL}/worker`,
		'--secret-file',
		WORKER_SECRET_FILE,
	];
	const { code, output } = await execute(
		process.execPath,
		...flags,
		...worker,
		'--once',
		'--verbose',
	);
	const refused = output
		.split('\n')
		.filter((line) => line.endsWith(' error') || line.endsWith(' timeout'));
	assert(refused.length === 0, 'the worker was refused:', refused.join(', '));
	assert(
		code === (scenario.rows.run[0] === 'success' ? 0 : 1),
		`the worker left with ${code}:`,
		output,
	);

	const named = (text, mark) =>
		text.replace(/(?<!:):([a-z]+)\b/g, (all, key) =>
			key in ids ? mark + ids[key] + mark : all,
		);
	for (const [name, rows] of Object.entries(scenario.rows)) {
		const want = rows.map((row) => named(row, '')).join('\n');
		const text = (got) => got.map((row) => row.join(' ')).join('\n');
		const query = named(QUERIES[name] ?? name, "'");
		// What is wiped is wiped by the janitor, in its time.
		const got = text(
			await db.until(
				query,
				(rows) => text(rows) === want,
				scenario.save_dataclips === false ? 15_000 : 0,
			),
		);
		assert(got === want, `${name}\n\texpected ${want}\n\tgot      ${got}`);
	}
};

await all(SCENARIOS, ({ name }) => name, play);
