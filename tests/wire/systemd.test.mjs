// What systemd sees of the daemon, by a real notification socket, real descriptors, a real folder of
// credentials and a real journal's socket (manager.pl): readiness, status, the watchdog, reloads, restarts
// that refuse no connection, and what the journal shows of a run.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cluster } from '../faults/cluster.mjs';
import { fixture, lose } from '../client/db.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, db, given, test } from './stage.mjs';

const folder = mkdtempSync(join(tmpdir(), 'interlock-systemd-'));
stage.atEnd(() => rmSync(folder, { recursive: true, force: true }));

// A coordinator under the manager, and what the manager says: says(pattern) resolves with the match of the
// next line that was not looked at yet and fits.
class Service {
	lines = [];
	#at = 0;
	#wake = () => {};

	static async start(name, flags, options, database) {
		const service = new Service();
		const under = ['perl', 'tests/wire/manager.pl', ...flags];
		const starting = Coordinator.start(name, options, database, under);
		service.coordinator = await starting;
		let text = '';
		service.coordinator.child.stdout.setEncoding('utf8').on('data', (more) => {
			const whole = (text + more).split('\n');
			text = whole.pop();
			service.lines.push(...whole);
			service.#wake();
		});
		return service;
	}

	async says(pattern, timeout = 60_000) {
		const end = Date.now() + timeout;
		for (;;) {
			while (this.#at < this.lines.length) {
				const match = this.lines[this.#at++].match(pattern);
				if (match) return match;
			}
			const left = end - Date.now();
			if (left <= 0) throw new Error(`not said: ${pattern}\n${this.lines.join('\n')}`);
			await new Promise((resolve) => {
				this.#wake = resolve;
				setTimeout(resolve, left).unref();
			});
		}
	}

	command(line) {
		this.coordinator.child.stdin.write(`${line}\n`);
	}
}

const get = (where) =>
	new Promise((resolve, reject) => {
		const asked = http.get({ ...where, path: '/healthz', agent: false }, (answer) => {
			answer.resume().on('end', () => resolve(answer.statusCode));
		});
		asked.on('error', reject);
	});

// -- Notifications ------------------------------------------------------------------------------------

test('it is ready when it listens, and its status has live figures', async () => {
	const service = await Service.start('systemd-status', ['--notify'], { server: { drain_timeout: '3s' } });
	await service.says(/^notify READY=1$/);
	await service.says(/^notify STATUS=serving.*: 0 workers, 0 runs, 0 messages under way/);
	const held = await Held.join(service.coordinator, await given());
	await service.says(/^notify STATUS=serving: 1 workers, 1 runs, 0 messages under way$/);
	assert.ok(!service.lines.some((line) => line.includes('WATCHDOG')), 'the watchdog is off');
	await service.coordinator.stop();
	await service.says(/^notify STOPPING=1\\nEXTEND_TIMEOUT_USEC=33000000$/);
});

test('a reload begins and ends, also one that changes nothing', async () => {
	const service = await Service.start('systemd-reload', ['--notify']);
	const { coordinator } = service;
	await service.says(/^notify READY=1$/);
	await coordinator.reload({ log: { level: 'debug' } });
	await service.says(/^notify RELOADING=1\\nMONOTONIC_USEC=\d+$/);
	await service.says(/^notify READY=1$/);
	await coordinator.reload({ log: { level: 'all' } }, /reload failed, nothing changed: .*level.*expected one of/);
	await service.says(/^notify RELOADING=1\\nMONOTONIC_USEC=\d+$/);
	await service.says(/^notify READY=1$/);
	await coordinator.stop();
});

// -- The watchdog -------------------------------------------------------------------------------------

test('a frozen database does not trip the watchdog, and nothing is lost by it', async () => {
	const cluster = await Cluster.start('systemd');
	const service = await Service.start('systemd-frozen', ['--watchdog', '1000000'], {}, cluster.urls());
	const psql = await cluster.psql();
	const held = await Held.join(service.coordinator, await fixture(psql));
	const backends = await psql.query('SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
	const frozen = [cluster.pid, ...backends.map(([pid]) => Number(pid))];
	const freeze = (signal) => frozen.forEach((pid) => process.kill(pid, signal));
	stage.atEnd(() => frozen.forEach((pid) => existsSync(`/proc/${pid}`) && process.kill(pid, 'SIGCONT')));
	freeze('SIGSTOP');
	let answered = false;
	const start = held.say('run:start', stage.runStart()).finally(() => (answered = true));
	for (let beat = 0; beat < 8; beat++) await service.says(/^notify WATCHDOG=1$/);
	const [host, port] = service.coordinator.address.split(':');
	assert.equal(await get({ host, port }), 200);
	assert.ok(!answered, 'the database is frozen');
	freeze('SIGCONT');
	assert.equal((await start).status, 'ok');
	assert.ok(!service.lines.includes('watchdog'));
	await service.coordinator.stop();
});

test('a loop that does not turn trips it', async () => {
	const service = await Service.start('systemd-blocked', ['--watchdog', '500000']);
	const { coordinator } = service;
	for (let beat = 0; beat < 4; beat++) await service.says(/^notify WATCHDOG=1$/);
	const [, pid] = service.lines.join('\n').match(/^started (\d+)$/m);
	process.kill(Number(pid), 'SIGSTOP');
	await service.says(/^watchdog$/);
	await service.says(/^left 137$/);
	assert.equal(await coordinator.exited, 137);
	await coordinator.kill();
});

// -- Sockets, credentials -----------------------------------------------------------------------------

test('restarts refuse no connection while the manager holds the sockets', async () => {
	const path = join(folder, 'socket');
	const flags = ['--notify', '--socket', '127.0.0.1:0', '--socket', path];
	// [server] listen is not used: this address is not served.
	const service = await Service.start('systemd-sockets', flags, { server: { listen: '192.0.2.1:1' } });
	const [host, port] = service.coordinator.address.split(':');
	const endpoints = [{ host, port }, { socketPath: path }];
	const statuses = {};
	let ended = false;
	const connecting = endpoints.flatMap((endpoint) =>
		Array.from({ length: 4 }, async () => {
			while (!ended) {
				const status = await get(endpoint).catch((error) => error.code);
				statuses[status] = (statuses[status] ?? 0) + 1;
			}
		}),
	);
	for (let i = 0; i < 2; i++) {
		await service.says(/^notify READY=1$/);
		const before = statuses[200] ?? 0;
		while ((statuses[200] ?? 0) < before + 20) await get(endpoints[0]).catch(() => {});
		service.command('restart');
		await service.says(/^left 0$/);
	}
	await service.says(/^notify READY=1$/);
	ended = true;
	await Promise.all(connecting);
	assert.deepEqual(Object.keys(statuses), ['200'], JSON.stringify(statuses));
	const listening = service.coordinator.logged.match(/listening on/g);
	assert.equal(listening.length, 6, 'two sockets, three starts');
	await service.coordinator.stop();
});

test("the keys are systemd's credentials", async () => {
	const credentials = join(folder, 'credentials');
	mkdirSync(credentials);
	const names = ['worker_secret', 'run_token_key', 'credential_key'];
	const { base } = new Coordinator('systemd-keys');
	const nowhere = {};
	for (const name of names) {
		copyFileSync(base.keys[name], join(credentials, name));
		chmodSync(join(credentials, name), 0o400);
		nowhere[name] = '';
	}
	chmodSync(credentials, 0o500);
	stage.atEnd(() => chmodSync(credentials, 0o700));
	const flags = ['--notify', '--credentials', credentials];
	const service = await Service.start('systemd-keys', flags, { keys: nowhere });
	const held = await Held.join(service.coordinator, await given());
	assert.equal((await held.say('run:start', stage.runStart())).status, 'ok');
	await service.coordinator.stop();
});

// -- The journal --------------------------------------------------------------------------------------

// The fields of a message to journald.
const fieldsOf = (bytes) => {
	const fields = {};
	for (let at = 0; at < bytes.length; ) {
		const end = bytes.indexOf('\n', at);
		const line = bytes.toString('utf8', at, end);
		const [name, ...value] = line.split('=');
		at = end + 1;
		if (value.length) {
			fields[name] = value.join('=');
			continue;
		}
		const size = Number(bytes.readBigUInt64LE(at));
		fields[name] = bytes.toString('utf8', at + 8, at + 8 + size);
		at += 8 + size + 1;
	}
	return fields;
};

test("the journal shows what happened to a run by RUN_ID", async () => {
	const socket = join(folder, 'journal');
	const log = { target: 'journal', socket };
	const service = await Service.start('systemd-journal', ['--journal', socket]);
	const { coordinator } = service;
	coordinator.write({ log });
	coordinator.child.kill('SIGHUP');
	const received = [];
	const until = async (holds) => {
		for (;;) {
			const [, hex] = await service.says(/^journal (.*)$/);
			received.push(fieldsOf(Buffer.from(hex, 'hex')));
			if (holds(received.at(-1))) return received.at(-1);
		}
	};
	await until(({ MESSAGE }) => MESSAGE === 'configuration reloaded');

	const id = await given();
	const other = await Held.join(coordinator, await given());
	const held = await Held.join(coordinator, id);
	const secret = `secret-${randomUUID()}`;
	await held.say('run:start', stage.runStart());
	await held.say('run:start', stage.runStart()); // started already
	await held.say('step:start', stage.stepStart(randomUUID(), randomUUID())); // no such job
	await other.say('run:complete', { reason: 'sideways', secret }); // another run
	await lose(db, id);
	await held.say('run:complete', stage.runComplete({ final_state: { secret } }));
	const last = await until(({ CODE }) => CODE === 'yielded');
	const story = received.filter(({ RUN_ID }) => RUN_ID === id.run);
	assert.deepEqual(
		story.map(({ EVENT, CODE, PRIORITY }) => [EVENT, CODE, PRIORITY]),
		[
			['run:start', 'already_started', '5'],
			['step:start', 'does_not_exist', '5'],
			['run:complete', 'yielded', '5'],
		],
	);
	for (const { WORKER, SYSLOG_IDENTIFIER } of story) {
		assert.match(WORKER, /^[0-9a-f-]{36}$/);
		assert.equal(SYSLOG_IDENTIFIER, 'interlockd');
	}
	assert.equal(last.MESSAGE.split(' run=')[0], "run:complete: the run was lost; the worker's report is applied");
	assert.ok(!JSON.stringify(received).includes(secret));
	assert.ok(!coordinator.logged.includes(id.run), 'what the journal has does not go to stderr too');
	await coordinator.stop();
});

await stage.play();
