// The database as its owner sees it: one psql that stays, and the rows that a test begins with.

import { execFileSync, spawn } from 'node:child_process';
import { createCipheriv, randomBytes, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';

const { STATEMENT_BIN = 'build/bench/statement' } = process.env;

export const quote = (value) =>
	value === null ? 'NULL' : `'${String(value).replaceAll("'", "''")}'`;

// query(text) resolves with the rows, each a list of strings ("null" for NULL); what the server
// refuses rejects with its sentence. Queries are answered in their order.
export class Database {
	#psql;
	#output = '';
	#waiting = [];
	#gone = null;

	constructor(url) {
		this.#psql = spawn('psql', [url, '-X', '-q', '-A', '-t', '-F', '|', '-P', 'null=null'], {
			stdio: ['pipe', 'pipe', 'ignore'],
		});
		this.#psql.stdout.setEncoding('utf8').on('data', (text) => {
			this.#output += text;
			for (
				let query;
				(query = this.#waiting[0]) && this.#output.includes(`${query.mark} `);
			) {
				const at = this.#output.indexOf(`${query.mark} `);
				const end = this.#output.indexOf('\n', at);
				if (end < 0) return;
				const [failed, ...message] = this.#output.slice(at, end).split(' ').slice(1);
				const lines = this.#output.slice(0, at).split('\n').slice(0, -1);
				this.#output = this.#output.slice(end + 1);
				this.#waiting.shift();
				if (failed === 'true') query.reject(new Error(message.join(' ')));
				else query.resolve(lines.map((line) => line.split('|')));
			}
		});
		this.#psql.on('exit', (code) => {
			this.#gone = new Error(`psql left with ${code}`);
			for (const { reject } of this.#waiting) reject(this.#gone);
		});
		this.#psql.stdin.on('error', () => {});
	}

	query(text) {
		const mark = randomUUID();
		if (this.#gone) return Promise.reject(this.#gone);
		return new Promise((resolve, reject) => {
			this.#waiting.push({ mark, resolve, reject });
			this.#psql.stdin.write(`${text}\n;\n\\echo ${mark} :ERROR :LAST_ERROR_MESSAGE\n`);
		});
	}

	// Asks again until the rows are such that holds(rows); resolves with the last rows either way.
	async until(text, holds, timeout = 60_000) {
		for (const end = Date.now() + timeout; ; await new Promise((r) => setTimeout(r, 50))) {
			const rows = await this.query(text);
			if (holds(rows) || Date.now() > end) return rows;
		}
	}

	close() {
		this.#psql.stdin.end();
	}
}

// The form in which credentials stand in the database: version 1, nonce, ciphertext, tag; the id is
// authenticated with it.
export const seal = (id, body) => sealText(id, JSON.stringify(body));
export const sealText = (id, body) => {
	const text = readFileSync(process.env.CREDENTIAL_KEY_FILE, 'utf8').trim();
	const key = Buffer.from(text, text.length === 64 ? 'hex' : 'base64');
	const nonce = randomBytes(12);
	const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(id));
	const sealed = [cipher.update(body), cipher.final()];
	return Buffer.concat([Buffer.from([1]), nonce, ...sealed, cipher.getAuthTag()]).toString('hex');
};

const insert = (table, row) =>
	`INSERT INTO ${table} (${Object.keys(row)}) VALUES (${Object.values(row).map(quote)})`;

// A project of its own with one workflow, trigger → a → b, and one run of it that waits in a queue
// of its own. Resolves with the ids by name. The credential (of job a) needs CREDENTIAL_KEY_FILE.
export const fixture = async (
	db,
	{
		input = '{"data":{"n":7}}',
		secret = { user: 'u', password: 'p' },
		save_dataclips = true,
	} = {},
) => {
	const names = [
		'project',
		'workflow',
		'snapshot',
		'trigger',
		'job_a',
		'job_b',
		'credential',
		'queue',
	];
	const id = Object.fromEntries(names.map((name) => [name, randomUUID()]));
	if (!process.env.CREDENTIAL_KEY_FILE) id.credential = null;
	const project_id = id.project;
	const workflow_id = id.workflow;
	const snapshot_id = id.snapshot;
	const job = (name, credential_id) => ({
		id: id[`job_${name}`],
		name,
		adaptor: '@openfn/language-common@3.2.3',
		credential_id,
		body: `export default [(state) => ({ ...state, ${name}: 1 })]`,
	});
	const edge = (source, target_job_id, condition) => ({
		id: randomUUID(),
		...source,
		target_job_id,
		condition,
		enabled: true,
	});
	const jobs = [job('a', id.credential), job('b', null)];
	const body = {
		triggers: [{ id: id.trigger, type: 'webhook' }],
		jobs,
		edges: [
			edge({ source_trigger_id: id.trigger }, id.job_a, 'always'),
			edge({ source_job_id: id.job_a }, id.job_b, 'on_job_success'),
		],
	};
	const statements = [
		insert('projects', { id: project_id, name: 'test', save_dataclips }),
		insert('workflows', { project_id, id: workflow_id, name: 'test', lock_version: 1 }),
		id.credential &&
			insert('credentials', {
				project_id,
				id: id.credential,
				name: 'test',
				body: `\\x${seal(id.credential, secret)}`,
			}),
		insert('snapshots', {
			project_id,
			id: snapshot_id,
			workflow_id,
			lock_version: 1,
			name: 'test',
			body: JSON.stringify(body),
		}),
		`UPDATE workflows SET snapshot_id = '${snapshot_id}' WHERE id = '${workflow_id}'`,
		...jobs.map(({ id: job_id, name, credential_id }) =>
			insert('snapshot_jobs', { project_id, snapshot_id, job_id, name, credential_id }),
		),
		insert('triggers', {
			project_id,
			id: id.trigger,
			workflow_id,
			type: 'webhook',
			runnable: true,
		}),
		`SELECT * FROM interlock_enqueue('${workflow_id}', ${quote(input)}, queue => '${id.queue}')`,
	];
	let rows;
	for (const statement of statements.filter(Boolean)) rows = await db.query(statement);
	[id.work_order, id.run] = rows[0];
	[[id.dataclip]] = await db.query(`SELECT dataclip_id FROM runs WHERE id = '${id.run}'`);
	return id;
};

// What a test leaves waiting would be claimed by the next one that takes from any queue.
export const empty = (db) => db.query('DELETE FROM waiting');

// -- What the janitor does, by hand ---------------------------------------------------------------

// The daemon's own statements, with an SQL expression for each parameter. A program prints them; it is asked
// once for each.
const texts = new Map();
export const statement = (name, ...expressions) => {
	const marks = expressions.map((_, i) => `{{${i}}}`);
	if (!texts.has(name))
		texts.set(name, execFileSync(STATEMENT_BIN, [name, ...marks], { encoding: 'utf8' }));
	return texts.get(name).replace(/\{\{(\d+)\}\}/g, (_, i) => expressions[i]);
};

const ofOrder = (order) => [
	`(SELECT project_id FROM work_orders WHERE id = '${order}')`,
	`'${order}'::uuid`,
];
export const lockOrder = (order) => statement('lock', ...ofOrder(order));
export const sweepLock = (order) => statement('sweep_lock', ...ofOrder(order));
export const settleOrder = (order) => statement('settle', ...ofOrder(order));

// Declares a run lost, as the janitor does once it has the lock of the work order: its lease has run out.
// `ago` puts the loss back, `deadline` (both intervals) the deadline so far ahead of now.
export const takeRun = (run, { ago = '0', deadline = null } = {}) => [
	`UPDATE runs SET lease_expires_at = clock_timestamp() - interval '1s',
		deadline_at = ${deadline ? `now() + interval '${deadline}'` : 'deadline_at'}
	WHERE id = '${run}' AND state IN ('claimed', 'started')`,
	statement(
		'sweep_take',
		`(SELECT project_id FROM runs WHERE id = '${run}')`,
		`'${run}'::uuid`,
		'(extract(epoch FROM clock_timestamp()) * 1000000)::bigint',
		...['3600000', "'join lease deadline'", "'lost'", '0', '0', '0', '90000', '10000'],
	),
	`UPDATE steps s SET finished_at = s.finished_at - interval '${ago}'
	FROM runs r
	WHERE r.id = '${run}' AND s.project_id = r.project_id AND s.run_id = r.id
		AND s.finished_at = r.finalized_at AND r.state = 'lost'`,
	`UPDATE runs SET finished_at = finished_at - interval '${ago}',
		finalized_at = finalized_at - interval '${ago}', lost_at = lost_at - interval '${ago}'
	WHERE id = '${run}' AND state = 'lost'`,
].join(';\n');

export const lose = async (db, { run, work_order }, when) => {
	await db.query('BEGIN');
	await db.query(lockOrder(work_order));
	const taken = await db.query(takeRun(run, when));
	await db.query(settleOrder(work_order));
	await db.query('COMMIT');
	return taken.length;
};

// -- What a test looks at ---------------------------------------------------------------------------

// One number for everything that a worker could have changed in these projects; the journal, leases and joins
// apart.
export const sumOf = async (db, ...projects) => {
	const tables = ['runs', 'steps', 'dataclips', 'log_lines', 'work_orders'];
	const rows = [...tables, 'waiting', 'in_flight', 'credentials', 'snapshot_jobs'].map(
		(table) =>
			`SELECT '${table}' || (to_jsonb(t) - ARRAY['lease_expires_at', 'active_at', 'joins'])::text AS row FROM ${table} t
			WHERE project_id IN (${projects.map(quote)})`,
	);
	const [[sum]] = await db.query(
		`SELECT md5(string_agg(row, ' ' ORDER BY row)) FROM (${rows.join(' UNION ALL ')}) x`,
	);
	return sum;
};

// The journal of a run, or of a whole {project}, oldest first, as objects.
export const journalOf = async (db, of) => {
	const whose = of.project ? `project_id = '${of.project}'` : `run_id = '${of}'`;
	const rows = await db.query(
		`SELECT row_to_json(t) FROM (SELECT *, lateness > interval '0' AS late FROM transitions
		WHERE ${whose} ORDER BY id) t`,
	);
	return rows.map((row) => JSON.parse(row.join('|')));
};

// Resolves when a backend waits for a lock that the connection `holder` has.
export const blocked = async (db, holder, waiters = 1) => {
	const [[pid]] = await holder.query('SELECT pg_backend_pid()');
	const rows = await db.until(
		`SELECT count(*) FROM pg_locks WHERE NOT granted AND ${pid} = ANY (pg_blocking_pids(pid))`,
		([[n]]) => Number(n) >= waiters,
	);
	if (Number(rows[0][0]) < waiters) throw new Error('no backend waits for the lock');
};
