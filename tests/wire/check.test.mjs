// `interlock check` on a cluster of its own: each of its findings is brought about for real, found, and gone
// again when it is mended.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Database, fixture, seal } from '../client/db.mjs';
import { standbyOf } from '../faults/cluster.mjs';
import * as stage from './stage.mjs';
import { test } from './stage.mjs';

const { INTERLOCK_BIN } = process.env;

// -- The cluster --------------------------------------------------------------------------------------

const folder = mkdtempSync(join(tmpdir(), 'interlock-check-'));
chmodSync(folder, 0o755);
const data = join(folder, 'pg');
const cluster = (command) => execFileSync('tests/cluster', [command, data], { encoding: 'utf8' });
const boot = () =>
	Object.fromEntries(
		[...cluster('start').matchAll(/export (\w+)='(.*)'/g)].map(([, name, url]) => [name, url]),
	);
let urls = boot();
stage.atEnd(() => {
	cluster('remove');
	rmSync(folder, { recursive: true, force: true });
});
const as = (role, base = 'interlock') =>
	urls.DATABASE_URL.replace(/\/\/[^@]*@\/[^?]*/, `//${role}@/${base}`);
let admin = new Database(as('postgres'));
const sql = (text) => admin.query(text);

// -- The command --------------------------------------------------------------------------------------

const keys = join(folder, 'keys');
const key = (name) => join(keys, name);
const names = ['worker_secret', 'run_token_key', 'credential_key'];
execFileSync(INTERLOCK_BIN, ['keys', '--dir', keys]);
const file = join(folder, 'interlock.conf');
const configure = ({ url = urls.DATABASE_URL, more = '' } = {}) =>
	writeFileSync(
		file,
		`[database]\nurl = ${url}\nmigrate_url = ${as('interlock_owner')}\n` +
			`[keys]\n${names.map((name) => `${name} = ${key(name)}\n`).join('')}${more}`,
	);
configure();
execFileSync(INTERLOCK_BIN, ['-c', file, 'migrate']);
await sql('GRANT pg_read_all_stats TO interlock, interlock_owner');
// A coordinator that is registered while no other is.
const keeper = `INSERT INTO coordinators VALUES ('keeper', 'p', now(), now() + interval '1 hour', '[]')`;
await sql(keeper);

const run = (args = [], env = {}) =>
	spawnSync(INTERLOCK_BIN, ['-c', file, 'check', ...args], {
		encoding: 'utf8',
		env: { ...process.env, ...env },
	});
const look = (args = [], env = {}) => {
	const { status, stdout, stderr } = run(['--json', ...args], env);
	assert.ok(status === 0 || status === 1, `${status} ${stderr}`);
	const said = JSON.parse(stdout);
	assert.equal(said.failed > 0, status === 1, 'the status says whether anything fails');
	return said.checks;
};

// The server is what it is: a lack of lz4 is always found, by a test of its own.
const aboutLz4 = ({ check, message }) => check === 'server' && message.includes('without lz4');
const wrong = (findings) => findings.filter((each) => each.result !== 'ok' && !aboutLz4(each));

// Exactly these are found: {check, result, pattern of the sentence}; and each says what to do.
const finds = (findings, ...wanted) => {
	const found = wrong(findings);
	assert.deepEqual(
		found.map(({ check, result }) => [check, result]),
		wanted.map(([check, result]) => [check, result]),
		JSON.stringify(found, null, 1),
	);
	wanted.forEach(([, , pattern], i) => pattern && assert.match(found[i].message, pattern));
	for (const { result, hint } of found) assert.ok(result === 'skipped' || hint);
};
const fine = () => finds(look());

const skipped = (...checks) => checks.map((check) => [check, 'skipped']);
const STANDING = 'server settings clock connections transactions slots standbys schema'.split(' ');
const UPON = 'role vacuum journal credentials coordinators'.split(' ');

// A test that brings something about, looks, and mends it.
const finding = (name, bring, mend, ...wanted) =>
	test(name, async () => {
		await bring();
		try {
			finds(look(), ...wanted);
		} finally {
			await mend();
		}
		fine();
	});

test('nothing is wrong to begin with', async () => {
	fine();
	const { status, stdout, stderr } = run();
	assert.deepEqual([status, stderr], [0, '']);
	assert.match(stdout, /^ok +settings +commits are durable$/m);
	assert.match(stdout, /^0 failed, \d warnings$/m);
});

// -- Configuration, keys ------------------------------------------------------------------------------

finding(
	'a mistake in the file',
	() => configure({ more: '[lost]\nlease = 1s\n[nope]\n' }),
	configure,
	['configuration', 'fail', /lease: got "1s"/],
	['configuration', 'fail', /\[nope\]/],
	...skipped('keys', 'database', ...STANDING, ...UPON),
);

const away = (name) => ({
	bring: () => execFileSync('mv', [key(name), `${key(name)}.away`]),
	mend: () => execFileSync('mv', [`${key(name)}.away`, key(name)]),
});
finding(
	'a key that is missing',
	away('run_token_key').bring,
	away('run_token_key').mend,
	['keys', 'fail', /run_token_key: cannot read .*: No such file/],
);
finding(
	'two keys that are none',
	() => {
		for (const name of ['run_token_key', 'credential_key']) {
			away(name).bring();
			writeFileSync(key(name), 'x'.repeat(40));
			chmodSync(key(name), 0o600);
		}
	},
	() => ['run_token_key', 'credential_key'].forEach((name) => away(name).mend()),
	['keys', 'fail', /run_token_key: not an unencrypted private key/],
	['keys', 'fail', /credential_key: not 64 hex/],
	['credentials', 'skipped', /credential_key/],
);
finding(
	'an RSA key for run tokens',
	() => {
		away('run_token_key').bring();
		const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
		writeFileSync(key('run_token_key'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
		chmodSync(key('run_token_key'), 0o600);
	},
	away('run_token_key').mend,
	['keys', 'warn', /run_token_key: signing with an RSA key takes ten times/],
);
for (const [mode, result, pattern] of [
	[0o604, 'fail', /worker_secret: every user of this machine can read/],
	[0o602, 'fail', /worker_secret: every user of this machine can write/],
	[0o660, 'warn', /worker_secret: its group can write/],
])
	finding(
		`a key with mode ${mode.toString(8)}`,
		() => chmodSync(key('worker_secret'), mode),
		() => chmodSync(key('worker_secret'), 0o600),
		['keys', result, pattern],
	);
finding(
	'a secret that is short',
	() => {
		away('worker_secret').bring();
		writeFileSync(key('worker_secret'), 'hush\n');
		chmodSync(key('worker_secret'), 0o600);
	},
	away('worker_secret').mend,
	['keys', 'warn', /worker_secret: has only 5 bytes/],
);
test("systemd's credentials are looked at where it puts them", async () => {
	const conf = readFileSync(file, 'utf8');
	writeFileSync(file, conf.replace(/^(worker_secret|run_token_key|credential_key) = .*$/gm, ''));
	finds(look([], { CREDENTIALS_DIRECTORY: keys }));
	const [{ message }] = wrong(look([], { CREDENTIALS_DIRECTORY: join(folder, 'nowhere') }));
	assert.match(message, /worker_secret: cannot read .*nowhere\/worker_secret/);
	configure();
});

// -- The database -------------------------------------------------------------------------------------

finding(
	'a database that is away',
	() => configure({ url: 'postgresql://interlock@127.0.0.1:1/interlock' }),
	configure,
	['database', 'fail', /refused/],
	...skipped(...STANDING, ...UPON),
);
finding(
	'a database without the schema, in another encoding',
	async () => {
		await sql(`CREATE DATABASE other ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0`);
		configure({ url: as('interlock', 'other') });
	},
	async () => {
		configure();
		await sql('DROP DATABASE other WITH (FORCE)');
	},
	['server', 'fail', /encoding is SQL_ASCII/],
	['schema', 'fail', /no interlock schema/],
	...skipped(...UPON),
);
const [[newest]] = await sql('SELECT max(version) FROM schema_migrations');
for (const [version, pattern] of [
	[Number(newest) + 1, /install the newer interlock/],
	[-1, /no interlock schema/],
	...(newest > 1 ? [[0, /needs \d+: run `interlock migrate`/]] : []),
])
	test(`a schema of version ${version}`, async () => {
		await sql('CREATE TABLE kept AS SELECT * FROM schema_migrations');
		if (version < 0) await sql('ALTER TABLE schema_migrations RENAME TO hidden');
		else if (version > 0)
			await sql(`UPDATE schema_migrations SET version = ${version}, serves = ${version} WHERE version = ${newest}`);
		else await sql(`DELETE FROM schema_migrations WHERE version = ${newest}`);
		const found = wrong(look());
		if (version < 0) await sql('ALTER TABLE hidden RENAME TO schema_migrations');
		await sql('DELETE FROM schema_migrations');
		await sql('INSERT INTO schema_migrations SELECT * FROM kept');
		await sql('DROP TABLE kept');
		assert.deepEqual(found.map(({ check }) => check), ['schema', ...UPON]);
		assert.match(found[0].message, pattern);
		fine();
	});

test('a server that was built without lz4', async () => {
	const [[has]] = await sql(`SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'`);
	const [compressed] = await sql(`SELECT attcompression FROM pg_attribute
		WHERE attrelid = 'dataclips'::regclass AND attname = 'body'`);
	const found = look().filter(aboutLz4);
	console.log(`this one was built with${has === 't' ? '' : 'out'} lz4`);
	assert.deepEqual(compressed, [has === 't' ? 'l' : '']);
	assert.deepEqual(found.map(({ result }) => result), has === 't' ? [] : ['warn']);
});
finding(
	'a server that is newer than those tested',
	() => sql(`CREATE SCHEMA pretended GRANT USAGE ON SCHEMA pretended TO PUBLIC;
		CREATE FUNCTION pretended.current_setting(name text) RETURNS text LANGUAGE sql AS $$
			SELECT CASE name WHEN 'server_version_num' THEN '190001' WHEN 'server_version' THEN '19.1'
				ELSE pg_catalog.current_setting(name) END $$;
		ALTER ROLE interlock SET search_path = pretended, pg_catalog, public`),
	() => sql('ALTER ROLE interlock RESET search_path; DROP SCHEMA pretended CASCADE'),
	['server', 'warn', /^PostgreSQL 19\.1 is newer than .* 15 to 18$/],
);
finding(
	'a database that is read-only by default',
	() => sql('ALTER DATABASE interlock SET default_transaction_read_only = on'),
	() => sql('ALTER DATABASE interlock RESET default_transaction_read_only'),
	['server', 'fail', /read-only by default/],
);

const setting = (name, why) =>
	finding(
		`${name} is off`,
		async () => {
			await sql(`ALTER SYSTEM SET ${name} = off`);
			await sql('SELECT pg_reload_conf()');
			await admin.until(`SELECT setting FROM pg_settings WHERE name = '${name}'`, ([[v]]) => v === 'off');
		},
		async () => {
			await sql(`ALTER SYSTEM RESET ${name}`);
			await sql('SELECT pg_reload_conf()');
			await admin.until(`SELECT setting FROM pg_settings WHERE name = '${name}'`, ([[v]]) => v === 'on');
		},
		['settings', 'fail', why],
	);
setting('fsync', /destroy the database/);
setting('full_page_writes', /torn pages/);
setting('autovacuum', /claims become slow/);
setting('track_counts', /autovacuum does not know/);
setting('synchronous_commit', /before the commit is durable/);
test('the hint names where a setting comes from, and helps', async () => {
	for (const where of ['DATABASE interlock', 'ROLE interlock', 'ROLE interlock IN DATABASE interlock']) {
		for (const [value, result] of [['off', 'fail'], ['local', 'warn']]) {
			await sql(`ALTER ${where} SET synchronous_commit = ${value}`);
			const found = look();
			finds(found, ['settings', result, new RegExp(`^synchronous_commit is ${value}: `)]);
			await sql(wrong(found)[0].hint);
			fine();
		}
	}
});

for (const [offset, result] of [['+3', 'warn'], ['-90', 'fail']])
	test(`a clock that is off by ${offset} s`, async () => {
		const preload = execFileSync('find', ['build/tools', '-name', 'libfaketime.so.1'], { encoding: 'utf8' });
		const env = {
			LD_PRELOAD: join(process.cwd(), preload.trim()),
			FAKETIME: offset,
			ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:verify_asan_link_order=0`,
		};
		const way = result === 'warn' ? /2\.\d s behind|3\.\d s behind/ : /(89|90)\.\d s ahead of/;
		finds(look([], env), ['clock', result, way]);
	});

finding(
	'no room for another coordinator',
	() => sql('ALTER DATABASE interlock CONNECTION LIMIT 7'),
	() => sql('ALTER DATABASE interlock CONNECTION LIMIT -1'),
	['connections', 'warn', /^\d connections are free, but a coordinator needs 8/],
);

test('a transaction that is open for long', async () => {
	const holder = new Database(as('interlock_owner'));
	await holder.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
	await holder.query('SELECT count(*) FROM runs');
	finds(look(['--old', '1ms']), ['transactions', 'warn', /interlock_owner.*idle in transaction/]);
	fine();
	await holder.query('ROLLBACK');
	finds(look(['--old', '1ms']));
	holder.close();
});

test("other roles' transactions are not visible to every role", async () => {
	await sql('REVOKE pg_read_all_stats FROM interlock');
	const found = look();
	finds(found, ['transactions', 'skipped', /cannot see \d+ sessions of other roles/]);
	await sql(wrong(found)[0].hint);
	fine();
});

test('a prepared transaction, a slot that is not in use', async () => {
	await sql('ALTER SYSTEM SET max_prepared_transactions = 5');
	await sql('ALTER SYSTEM SET wal_level = logical');
	admin.close();
	cluster('stop');
	urls = boot();
	configure();
	admin = new Database(as('postgres'));
	await sql('BEGIN');
	await sql('CREATE TABLE held (x int)');
	await sql(`PREPARE TRANSACTION 'it''s held'`);
	finds(look(['--old', '1ms']), ['transactions', 'warn', /prepared transaction 'it''s held'/]);
	fine();
	await sql(`ROLLBACK PREPARED 'it''s held'`);
	await sql(`SELECT pg_create_physical_replication_slot('standby', true)`);
	finds(look(), ['slots', 'warn', /standby is inactive and retains .* of WAL$/]);
	await sql(`SELECT pg_create_logical_replication_slot('reader', 'pgoutput')`);
	finds(look(), ['slots', 'warn'], ['slots', 'warn', /reader is inactive and retains .* of WAL, and blocks vacuum/]);
	for (const { hint } of wrong(look())) await sql(hint.replace(/.*, or /, ''));
	fine();
});

// -- The schema ---------------------------------------------------------------------------------------

finding(
	'rights that are missing',
	() => sql('REVOKE INSERT, UPDATE ON runs, steps FROM interlock'),
	() => sql('GRANT INSERT, UPDATE ON runs, steps TO interlock'),
	['role', 'fail', /^interlock lacks INSERT, UPDATE on runs, steps$/],
);
test('a role that may too much', async () => {
	configure({ url: as('interlock_owner') });
	finds(look(), ['role', 'warn', /interlock_owner owns the tables/]);
	configure({ url: as('postgres') });
	finds(look(), ['role', 'warn', /postgres is a superuser/]);
	configure();
});
finding(
	'a hot table that is not vacuumed',
	() => sql('ALTER TABLE waiting SET (autovacuum_enabled = off)'),
	() => sql('ALTER TABLE waiting RESET (autovacuum_enabled)'),
	['vacuum', 'fail', /switched off for waiting/],
);
test('a hot table full of dead rows', async () => {
	await sql('ALTER TABLE turns SET (autovacuum_enabled = off)');
	await sql(`INSERT INTO projects (id, name) SELECT gen_random_uuid(), 'x' FROM generate_series(1, 21000)`);
	await sql('INSERT INTO turns SELECT id, 1 FROM projects');
	await sql('DELETE FROM turns');
	await admin.until(`SELECT n_dead_tup FROM pg_stat_all_tables WHERE relname = 'turns'`, ([[n]]) => n > 20000);
	finds(look(), ['vacuum', 'fail'], ['vacuum', 'warn', /turns has 2\d+ dead rows .* vacuum never/]);
	await sql('ALTER TABLE turns RESET (autovacuum_enabled)');
	await sql('VACUUM turns');
	await admin.until(`SELECT n_dead_tup FROM pg_stat_all_tables WHERE relname = 'turns'`, ([[n]]) => n < 20000);
	fine();
});
for (const [table, ahead, result, pattern] of [
	['transitions', 2, 'warn', /the journal has no partition for \d{4}-/],
	['transitions', 0, 'fail', /the journal has no partition for today/],
	['log_lines', 2, 'warn', /the log has no partition for \d{4}-/],
	['log_lines', 0, 'fail', /the log has no partition for today/],
])
	finding(
		`no partition of ${table}, ${ahead} days ahead`,
		() => sql(`DO $$ BEGIN EXECUTE 'DROP TABLE ${table}_'
			|| to_char((now() AT TIME ZONE 'UTC')::date + ${ahead}, 'YYYYMMDD'); END $$`),
		() => sql('SELECT interlock_make_partitions()'),
		['journal', result, pattern],
	);

test('credentials under another key, and under none', async () => {
	const other = join(folder, 'other');
	execFileSync(INTERLOCK_BIN, ['keys', '--dir', other]);
	const project = '00000000-0000-4000-8000-000000000001';
	const credential = '00000000-0000-4000-8000-000000000002';
	const { CREDENTIAL_KEY_FILE } = process.env;
	process.env.CREDENTIAL_KEY_FILE = join(other, 'credential_key');
	await sql(`INSERT INTO projects (id, name) VALUES ('${project}', 'x')`);
	await sql(`INSERT INTO credentials VALUES ('${project}', '${credential}', 'x', '\\x${seal(credential, {})}')`);
	finds(look(), ['credentials', 'fail', /^1 cannot be decrypted with either key$/]);
	configure({ more: `credential_key_other = ${join(other, 'credential_key')}\n` });
	finds(look(), ['credentials', 'warn', /^1 can be decrypted only with credential_key_other$/]);
	execFileSync(INTERLOCK_BIN, ['-c', file, 'rekey']);
	fine();
	configure();
	fine();
	await sql('DELETE FROM credentials');
	process.env.CREDENTIAL_KEY_FILE = CREDENTIAL_KEY_FILE;
});

// -- Coordinators -------------------------------------------------------------------------------------

test('coordinators: none, one, two of different opinions; runs without workers', async () => {
	const base = { url: urls.DATABASE_URL, migrate_url: as('interlock_owner') };
	await sql('DELETE FROM coordinators');
	finds(look(), ['coordinators', 'warn', /no coordinator has been active/]);
	const seen = (name, workers) =>
		admin.until(
			`SELECT json_array_length(workers::json) FROM coordinators WHERE name = '${name}'`,
			([row]) => row && Number(row[0]) === workers,
		);
	const a = await stage.Coordinator.start('check-a', {}, base);
	await seen('check-a', 0);
	fine();
	const b = await stage.Coordinator.start('check-b', { lost: { late_completion: 'reject' } }, base);
	await seen('check-b', 0);
	finds(look(), ['coordinators', 'fail', /^late policies differ: check-[ab] versus check-[ab]$/]);
	await b.stop();
	await sql(`DELETE FROM coordinators WHERE name = 'check-b'`);
	fine();
	await fixture(admin);
	await sql('UPDATE snapshot_jobs SET credential_id = NULL');
	await sql('DELETE FROM credentials'); // sealed with another key than this folder's
	finds(look(), ['coordinators', 'warn', /runs are waiting, but no worker is connected/]);
	const worker = await a.worker();
	await seen('check-a', 1);
	fine();
	await worker.cut();
	await a.stop();
	await sql('DELETE FROM coordinators');
	await sql('DELETE FROM waiting');
	await sql(keeper);
});

// -- A standby ----------------------------------------------------------------------------------------

test('a standby', async () => {
	const host = new URLSearchParams(urls.DATABASE_URL.split('?')[1]).get('host');
	const standby = await standbyOf(data, as('postgres', 'postgres'));
	const options = `-k ${host} -p 5999 -c listen_addresses= -c max_connections=200`;
	await standby.pg('pg_ctl', '-D', standby.data, '-s', '-w', '-l', join(standby.data, 'log'), '-o', options, 'start');
	const follows = (state) =>
		admin.until('SELECT sync_state FROM pg_stat_replication', ([row]) => row?.[0] === state);
	try {
		await follows('async');
		const found = look();
		finds(found, ['standbys', 'warn', /^no standby \(walreceiver\) is synchronous: /]);
		await sql('REVOKE pg_read_all_stats FROM interlock');
		finds(look(), ['transactions', 'skipped'], ['standbys', 'skipped', /^cannot see the state of 1 standby connections/]);
		await sql('GRANT pg_read_all_stats TO interlock');
		await sql(wrong(found)[0].hint.split('; then ')[0]);
		await sql('SELECT pg_reload_conf()');
		await follows('quorum');
		fine();
		configure({ url: urls.DATABASE_URL.replace(/port=\d+/, 'port=5999') });
		finds(look(), ['server', 'fail', /the server is a standby/]);
	} finally {
		await standby.pg('pg_ctl', '-D', standby.data, '-s', '-m', 'immediate', 'stop');
		await sql('ALTER SYSTEM RESET synchronous_standby_names');
		await sql('SELECT pg_reload_conf()');
		configure();
	}
	fine();
});

test('usage', async () => {
	const { status, stderr } = run(['--old', 'yesterday']);
	assert.equal(status, 2);
	assert.match(stderr, /--old: got "yesterday"/);
});

await stage.play();
