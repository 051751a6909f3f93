// Every option that may change while the daemon runs does, for workers that are connected; what may not is
// named; and a file with a mistake changes nothing. Which options those are is read off the sample file,
// which is the table's: an option without a case here fails.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Database, fixture, journalOf, lose } from '../client/db.mjs';
import { Worker, readSecret, sign, workerClaims } from '../client/lib.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, alreadyFinal, answer, test } from './stage.mjs';

const { INTERLOCK_BIN } = process.env;
const folder = mkdtempSync(join(tmpdir(), 'interlock-reload-'));
stage.atEnd(() => rmSync(folder, { recursive: true, force: true }));
const run = promisify(execFile);
const journal = join(folder, 'journal');

const urls = await stage.newDatabase('reload');
const db = new Database(urls.migrate_url);
const root = new Database(urls.admin_url);

// What is in force; what a case changes stays so, unless it says otherwise.
const options = { claims: { poll_interval: '1h' }, janitor: { interval: '10m' }, log: { burst: '0' }, lost: { lease: '90s' } };
const manager = ['perl', 'tests/wire/manager.pl', '--journal', journal];
const a = await Coordinator.start('reload', structuredClone(options), urls, manager);
const change = (changes, ...says) => {
	for (const [section, values] of Object.entries(changes))
		options[section] = { ...options[section], ...values };
	return a.reload(structuredClone(options), ...says);
};
const given = (more) => fixture(db, more);

// A worker that was there before everything else, and stays.
const old = await Held.join(a, await given());
const stillThere = async () => assert.equal((await old.say('fetch:plan')).status, 'ok');
const seconds = async (id, from, to) => {
	const [[n]] = await db.query(`SELECT extract(epoch FROM ${to} - ${from}) FROM runs WHERE id = '${id.run}'`);
	return Math.round(Number(n));
};
const stateOf = (id, state) =>
	db.until(`SELECT state FROM runs WHERE id = '${id.run}'`, ([[is]]) => is === state).then(([[is]]) => is);

// -- One case for each option, or for some together ---------------------------------------------------

const cases = [];
const option = (names, play) => {
	cases.push(...names.split(' '));
	test(names, async () => {
		await play();
		await stillThere();
	});
};

option('runs.default_timeout lost.grace lost.lease', async () => {
	const before = await given();
	await Held.join(a, before);
	assert.equal(await seconds(before, 'claimed_at', 'deadline_at'), 310);
	await change({ runs: { default_timeout: '70s' }, lost: { grace: '3s', lease: '200s' } });
	const after = await given();
	const held = await Held.join(a, after);
	assert.equal(await seconds(after, 'claimed_at', 'deadline_at'), 73);
	const left = await seconds(after, 'clock_timestamp()', 'lease_expires_at');
	assert.ok(left > 90 && left <= 200, `${left} s`); // some of it has passed
	await change({ runs: { default_timeout: '300s' }, lost: { lease: '90s' } });
	await held.worker.cut();
});

option('transitions.mode', async () => {
	const held = await Held.join(a, await given());
	await held.say('run:start', stage.runStart());
	assert.equal((await held.say('run:start', stage.runStart())).status, 'error');
	await change({ transitions: { mode: 'observe' } });
	assert.equal((await held.say('run:start', stage.runStart())).status, 'ok');
	await change({ transitions: { mode: 'enforce' } });
});

option('lost.late_completion project.late_completion', async () => {
	const [first, second] = [await Held.join(a, await given()), await Held.join(a, await given())];
	await lose(db, first.id);
	await lose(db, second.id);
	await change({
		lost: { late_completion: 'reject' },
		[`project "${second.id.project}"`]: { late_completion: 'acknowledge' },
	});
	assert.deepEqual(answer(await first.say('run:complete', stage.runComplete())), alreadyFinal('lost'));
	const { response } = await second.say('run:complete', stage.runComplete());
	assert.equal(response.outcome, 'too_late');
	delete options[`project "${second.id.project}"`];
	await change({ lost: { late_completion: 'yield' } });
	assert.equal((await second.say('run:complete', stage.runComplete())).response.outcome, undefined);
});

option('lost.late_window', async () => {
	const held = await Held.join(a, await given());
	await lose(db, held.id, { ago: '10s' });
	await change({ lost: { late_window: '5s' } });
	const { response } = await held.say('run:complete', stage.runComplete());
	assert.equal(response.outcome, 'too_late');
	await change({ lost: { late_window: '1h' } });
	await held.say('run:complete', stage.runComplete());
	assert.equal(await stateOf(held.id, 'success'), 'success');
});

option('journal.max_message', async () => {
	const held = await Held.join(a, await given());
	const message = { reason: 'sideways', note: 'n'.repeat(100) };
	await held.say('run:complete', message);
	await change({ journal: { max_message: '50' } });
	await held.say('run:complete', message);
	const [whole, bounded] = (await journalOf(db, held.id.run)).filter(({ code }) => code === 'invalid');
	assert.match(JSON.stringify(whole.message), /nnnn/);
	assert.doesNotMatch(JSON.stringify(bounded.message), /nnnn/);
});

// The daemon does not use it: interlock prune reads the file.
option('retention.journal', async () => {
	const prune = () => run(INTERLOCK_BIN, ['-c', a.file, 'prune', '--dry-run']);
	await root.query(`CREATE TABLE transitions_20000101 (LIKE transitions INCLUDING ALL);
		ALTER TABLE transitions_20000101 OWNER TO interlock_owner;
		ALTER TABLE transitions ATTACH PARTITION transitions_20000101
		FOR VALUES FROM (now() - interval '7d') TO (now() - interval '6d')`);
	assert.doesNotMatch((await prune()).stdout, /transitions_20000101/);
	await change({ retention: { journal: '2d' } });
	assert.match((await prune()).stdout, /transitions_20000101/);
});

option('retention.runs retention.dataclips retention.logs project.runs project.dataclips project.logs', async () => {
	const finished = async () => {
		const held = await Held.join(a, await given());
		await held.say('run:log', { message: ['x'] });
		await held.say('run:complete', stage.runComplete());
		await held.worker.cut();
		return held.id;
	};
	const [own, other] = [await finished(), await finished()];
	const kept = async ({ run, dataclip }) => (await db.query(`SELECT
		(SELECT count(*) FROM runs WHERE id = '${run}'),
		(SELECT count(*) FROM dataclips WHERE id = '${dataclip}' AND body IS NOT NULL),
		(SELECT count(*) FROM log_lines WHERE run_id = '${run}')`))[0].join(' ');
	const until = async (id, what) => {
		for (const end = Date.now() + 20_000; (await kept(id)) !== what && Date.now() < end; ) await pause(50);
		assert.equal(await kept(id), what);
	};
	const project = `project "${own.project}"`;
	await change({ janitor: { interval: '10ms' }, [project]: { dataclips: '1s' } });
	await until(own, '1 0 1');
	await change({ [project]: { logs: '1s' } });
	await until(own, '1 0 0');
	assert.equal(await kept(other), '1 1 1');
	await change({ [project]: { runs: '1s' } });
	await until(own, '0 0 0');
	await change({ [project]: { logs: '2s', runs: '2s', dataclips: '2s' }, retention: { dataclips: '1s', logs: '1s' } });
	await until(other, '1 0 0');
	await change({ retention: { runs: '1s' } });
	await until(other, '0 0 0');
	delete options[project];
	await change({ janitor: { interval: '10m' }, retention: { runs: '90d', dataclips: '30d', logs: '30d' } });
});

option('claims.poll_interval', async () => {
	const idle = await a.worker();
	await idle.join('worker:queue', { capacity: 1 });
	const id = await given();
	await db.query('DELETE FROM waiting');
	idle.pushed.length = 0;
	// As if the notification was lost.
	await root.query(`SET session_replication_role = replica;
		INSERT INTO waiting SELECT project_id, workflow_id, queue, priority, seq, id FROM runs
		WHERE id = '${id.run}'`);
	const notified = new Promise((resolve) => idle.ws.on('message', resolve));
	await change({ claims: { poll_interval: '50ms' } });
	await notified;
	assert.deepEqual(idle.pushed.map(({ event }) => event), ['work-available']);
	await idle.cut();
	await db.query('DELETE FROM waiting');
});

option('limits.max_workers limits.max_workers_per_address server.trusted_proxies', async () => {
	// The status of a handshake that comes by a proxy.
	const shake = (client) =>
		new Promise((resolve) => {
			const token = sign(readSecret(a.base.keys.worker_secret), workerClaims());
			const [host, port] = a.address.split(':');
			const asked = http.get({
				host,
				port,
				path: `/worker/websocket?${new URLSearchParams({ token, vsn: '2.0.0' })}`,
				headers: {
					'X-Forwarded-For': client,
					Connection: 'Upgrade',
					Upgrade: 'websocket',
					'Sec-WebSocket-Version': '13',
					'Sec-WebSocket-Key': Buffer.from('0123456789abcdef').toString('base64'),
				},
			});
			asked.on('response', ({ statusCode }) => resolve(statusCode) ?? asked.destroy());
			asked.on('upgrade', (response, socket) => resolve(101) ?? socket.destroy());
		});
	assert.equal(await shake('203.0.113.1'), 101);
	await change({ limits: { max_workers_per_address: '1' } });
	assert.equal(await shake('203.0.113.1'), 503);
	await change({ server: { trusted_proxies: '127.0.0.1' } });
	assert.equal(await shake('203.0.113.1'), 101);
	await change({ limits: { max_workers: '1' } });
	assert.equal(await shake('203.0.113.2'), 503);
	await change({ limits: { max_workers: '100', max_workers_per_address: '100' }, server: { trusted_proxies: '' } });
});

option('limits.max_http_connections limits.max_http_connections_per_address', async () => {
	const [host, port] = a.address.split(':');
	const crowded = 'interlock_http_connections_dropped_total{reason="crowded"}';
	for (const limits of [{ max_http_connections: '1' }, { max_http_connections: '100', max_http_connections_per_address: '1' }]) {
		await change({ limits });
		const before = await a.metric(crowded);
		const silent = connect(port, host).on('error', () => {});
		await once(silent, 'connect');
		assert.equal(await a.untilMetric(crowded, (n) => n > before), before + 1, 'another one takes its place');
		if (!silent.closed) await once(silent, 'close');
	}
	await change({ limits: { max_http_connections: '1000', max_http_connections_per_address: '200' } });
});

const keyNames = ['worker_secret', 'run_token_key', 'credential_key'];
option(keyNames.flatMap((name) => [`keys.${name}`, `keys.${name}_other`]).join(' '), async () => {
	const fresh = (name) => join(folder, name);
	await run(INTERLOCK_BIN, ['keys', '--dir', folder]);
	const before = await Held.claim(a, await given());
	const keys = Object.fromEntries(keyNames.map((name) => [name, fresh(name)]));
	const others = Object.fromEntries(keyNames.map((name) => [`${name}_other`, a.base.keys[name]]));
	const dial = (file) => new Worker(a.url, readSecret(file)).opened.then((worker) => worker.cut(), () => 'refused');
	assert.equal(await dial(keys.worker_secret), 'refused');
	await change({ keys: { ...keys, ...others } });
	assert.notEqual(await dial(keys.worker_secret), 'refused');
	assert.notEqual(await dial(a.base.keys.worker_secret), 'refused');
	// A token and a credential of the old keys, for a worker that was there before.
	assert.equal((await before.join()).status, 'ok');
	const credential = { id: before.id.credential };
	assert.equal((await before.say('fetch:credential', credential)).status, 'ok');
	await change({ keys: Object.fromEntries(keyNames.map((name) => [`${name}_other`, ''])) });
	assert.equal(await dial(a.base.keys.worker_secret), 'refused');
	assert.equal((await before.join()).response.code ?? 'unauthorized', 'unauthorized');
	assert.equal((await before.join()).status, 'error');
	await change({ keys: { ...a.base.keys, ...others } });
});

option('log.level log.burst', async () => {
	const from = a.logged.length;
	const lines = (pattern) => [...a.logged.slice(from).matchAll(pattern)].length;
	const refuse = () => old.say('run:complete', { reason: 'sideways' });
	await old.say('fetch:plan');
	await change({ log: { level: 'debug', burst: '1' } });
	await old.say('fetch:plan');
	await a.says(/level=debug msg="fetch:plan: ok"/, from);
	assert.equal(lines(/fetch:plan: ok/g), 1);
	await refuse();
	await refuse();
	assert.equal(lines(/run:complete: refused/g), 1);
	await change({ log: { level: 'info', burst: '0' } });
	await refuse();
	await a.says(/run:complete: refused[^]*run:complete: refused/, from);
});

option('log.target log.socket', async () => {
	const logged = new Promise((resolve) => {
		let text = '';
		a.child.stdout.setEncoding('utf8').on('data', (more) => {
			text += more;
			const [, hex] = text.match(/^journal ([0-9a-f]+)$/m) ?? [];
			if (hex) resolve(Buffer.from(hex, 'hex').toString());
		});
	});
	const from = a.logged.length;
	Object.assign(options.log, { target: 'journal', socket: journal });
	a.write(structuredClone(options));
	a.child.kill('SIGHUP');
	assert.match(await logged, /configuration reloaded/);
	await change({ log: { target: 'stderr' } });
	assert.equal([...a.logged.slice(from).matchAll(/configuration reloaded/g)].length, 1);
});

// The last ones, because the janitor enforces deadlines only half a minute after its start, and after the lease
// that it knows has changed: it is what it was then.
option('janitor.interval lost.after_claim lost.max_requeues claims.join_timeout', async () => {
	const overdue = async () => {
		const held = await Held.join(a, await given());
		await db.query(`UPDATE runs SET deadline_at = now() - interval '1s' WHERE id = '${held.id.run}'`);
		return held.id;
	};
	const first = await overdue();
	const unjoined = await given();
	await Held.claim(a, unjoined);
	await change({ janitor: { interval: '50ms' }, claims: { join_timeout: '2s' } });
	assert.equal(await stateOf(unjoined, 'available'), 'available');
	assert.equal(await stateOf(first, 'lost'), 'lost');
	await change({ lost: { after_claim: 'requeue' } });
	assert.equal(await stateOf(await overdue(), 'available'), 'available');
	await change({ lost: { max_requeues: '0' } });
	assert.equal(await stateOf(await overdue(), 'lost'), 'lost');
});

// -- All of them, none of the others, and mistakes ----------------------------------------------------

// The options as they were when the cases had been played.
const restore = async () => {
	for (const section of Object.keys(options)) delete options[section];
	Object.assign(options, structuredClone(kept));
	await change({});
};
let kept;

const sample = () => {
	const found = { reloadable: [], fixed: [] };
	let section = null, reloadable = false;
	for (const line of readFileSync('config/interlock.conf', 'utf8').split('\n')) {
		const [, title] = line.match(/^#?\[(\w+)/) ?? [];
		const [, name] = line.match(/^#(\w+) =/) ?? [];
		if (title) section = title;
		if (!section) continue;
		if (line.endsWith('(reload)')) reloadable = true;
		if (name) found[reloadable || section === 'project' ? 'reloadable' : 'fixed'].push(`${section}.${name}`);
		if (name) reloadable = false;
	}
	return found;
};

test('every option that may change at run time has a case', () => {
	assert.deepEqual([...cases].sort(), sample().reloadable.sort());
	kept = structuredClone(options);
});

test('what needs a restart is named, and nothing else', async () => {
	const others = {
		server: { listen: '127.0.0.1:1', name: 'another', drain_timeout: '1s' },
		database: { url: 'host=/nowhere', migrate_url: 'host=/nowhere', writers: '3', queue_timeout: '1s' },
		intake: { listen: '127.0.0.1:2', max_body: '1MiB' },
		metrics: { listen: '127.0.0.1:3' },
		limits: { max_message: '1MiB', memory: '1GiB' },
	};
	const names = Object.entries(others).flatMap(([section, values]) =>
		Object.keys(values).map((name) => `${section}.${name}`),
	);
	assert.deepEqual(names.sort(), sample().fixed.sort(), 'all of them are changed here');
	const from = a.logged.length;
	await change(others, /these options need a restart: [^"]*/);
	const [said] = await a.says(/these options need a restart: ([^"]*)/, from);
	const named = [...said.matchAll(/\[(\w+)\] (\w+)/g)].map(([, section, name]) => `${section}.${name}`);
	assert.deepEqual(named.sort(), names);
	await restore();
	await stillThere();
});

test('a file with a mistake changes nothing', async () => {
	const held = await Held.join(a, await given());
	await lose(db, held.id);
	const mistakes = [
		[{ lost: { late_completion: 'reject', grace: 'soon' } }, /reload failed, nothing changed: .*\[lost\] grace: got .*soon/],
		[{ lost: { late_completion: 'reject' }, nonsense: { a: 'b' } }, /reload failed, nothing changed: .*\[nonsense\]/],
		[{ lost: { late_completion: 'reject' }, claims: { join_timeout: '80s' }, keys: { run_token_key: '/no/such' } },
			/reload failed, nothing changed: .*run_token_key: cannot read/],
	];
	for (const [changes, says] of mistakes) {
		await change({ ...changes, log: { level: 'error' } }, says);
		await restore();
	}
	const { response } = await held.say('run:complete', stage.runComplete());
	assert.equal(response.outcome, undefined, 'yield is still in force');
	assert.equal(await stateOf(held.id, 'success'), 'success');
});

await stage.play();
