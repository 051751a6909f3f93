// `interlock top`: what a frame says, as text and as JSON; on a terminal (script's) it fits the size,
// follows a change of it, and leaves the screen as it was, whatever ends it.

import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { Database, fixture } from '../client/db.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, test } from './stage.mjs';

const { INTERLOCK_BIN } = process.env;
const urls = await stage.newDatabase('top');
const db = new Database(urls.migrate_url);
const a = await Coordinator.start('top-a', {}, urls);
const top = (...args) => spawnSync(INTERLOCK_BIN, ['-c', a.file, 'top', ...args], { encoding: 'utf8' });
const frame = () => JSON.parse(top('--once', '--json').stdout);
const runs = ({ runs: rows }) => Object.fromEntries(rows.map(({ state, now, last_10s }) => [state, [now, last_10s]]));

const [one, two, waiting] = [await fixture(db), await fixture(db), await fixture(db)];
const held = await Held.join(a, one);
await held.say('run:start', stage.runStart());
const dead = await Held.join(a, two);

test('a frame says what is so', async () => {
	await db.query(`UPDATE runs SET inserted_at = now() - interval '2 hours' WHERE id = '${waiting.run}'`);
	await db.query(`INSERT INTO transitions (project_id, run_id, revision, event, from_state, to_state, outcome, worker)
		VALUES ('${two.project}', '${two.run}', 9, 'lost', 'claimed', 'lost', 'accepted', 'w-dead')`);
	const said = frame();
	assert.deepEqual(Object.keys(said), ['at', 'rate', 'runs', 'queues', 'coordinators', 'workers', 'late']);
	const states = runs(said);
	assert.equal(states.available[0], 1);
	assert.deepEqual(states.claimed, [1, 2]);
	assert.deepEqual(states.started, [1, 1]);
	assert.deepEqual(states.lost, [null, 1]);
	assert.equal(said.queues[0].queue, waiting.queue);
	assert.ok(said.queues[0].oldest >= 7200);
	assert.ok(said.rate[0].transitions_per_second >= 0.4);
	assert.equal(said.coordinators[0].coordinator, 'top-a');
	assert.deepEqual([said.late[0].run, said.late[0].to, said.late[0].worker], [two.run, 'lost', 'w-dead']);
	assert.ok(!Number.isNaN(Date.parse(said.at)));
});

test('as text it has no escapes where there is no terminal', async () => {
	const { status, stdout, stderr } = top('--once');
	assert.deepEqual([status, stderr], [0, '']);
	assert.match(stdout, /^interlock  \d{4}-\d\d-\d\d .* transitions\/s$/m);
	assert.match(stdout, /^available +1 +\d+ +2h 0m$/m);
	assert.match(stdout, /^lost, released, late$/m);
	assert.match(stdout, /claimed +lost +accepted +- +w-dead$/m);
	assert.ok(!stdout.includes('\x1b'));
});

test('JSON lines keep coming, until it is stopped', async () => {
	const child = spawn(INTERLOCK_BIN, ['-c', a.file, 'top', '--json', '--interval', '100ms']);
	let text = '';
	await new Promise((resolve) =>
		child.stdout.setEncoding('utf8').on('data', (part) => {
			text += part;
			if (text.split('\n').length > 3) resolve();
		}),
	);
	child.kill('SIGTERM');
	await once(child, 'exit');
	for (const line of text.split('\n').slice(0, 3)) assert.equal(JSON.parse(line).coordinators.length, 1);
});

// -- A terminal -----------------------------------------------------------------------------------------

class Terminal {
	text = '';

	constructor(rows, cols) {
		const command = `stty rows ${rows} cols ${cols}; exec ${INTERLOCK_BIN} -c ${a.file} top --interval 100ms`;
		this.script = spawn('script', ['-qfec', command, '/dev/null'], { env: { ...process.env, TERM: 'xterm' } });
		this.exited = once(this.script, 'exit');
		stage.atEnd(() => this.script.kill('SIGKILL')); // what it runs is hung up on
		this.script.stdout.setEncoding('utf8').on('data', (part) => (this.text += part));
	}

	// Resolves with the last whole frame, as lines without colours, when it holds; frames begin at home.
	async shows(holds) {
		for (const end = Date.now() + 60_000; ; await new Promise((r) => setTimeout(r, 50))) {
			const whole = this.text.split('\x1b[H').at(-2) ?? '';
			const lines = whole.replace(/\x1b\[[0-9;?]*[a-zA-Z]/g, '').split('\r\n');
			if (whole.includes('\x1b[J') && holds(lines)) return lines;
			assert.ok(Date.now() < end, JSON.stringify(this.text.slice(-3000)));
		}
	}

	get pid() {
		return Number(execFileSync('ps', ['-o', 'pid=', '--ppid', this.script.pid], { encoding: 'utf8' }));
	}

	resize(rows, cols) {
		const tty = execFileSync('ps', ['-o', 'tty=', '-p', this.pid], { encoding: 'utf8' }).trim();
		execFileSync('stty', ['-F', `/dev/${tty}`, 'rows', rows, 'cols', cols]);
	}
}
const ENTER = '\x1b[?1049h\x1b[?25l', LEAVE = '\x1b[?25h\x1b[?1049l';

test('it fits the terminal, follows its size and what happens', async () => {
	const terminal = new Terminal(8, 30);
	const small = await terminal.shows((lines) => lines.length === 8);
	assert.ok(small.every((line) => [...line].length <= 30), JSON.stringify(small));
	assert.ok(terminal.text.includes(ENTER));
	assert.match(small[4], /^available +1 /);
	await db.query(`SELECT interlock_enqueue('${waiting.workflow}')`);
	await terminal.shows(([, , , , available]) => /^available +2 /.test(available));
	terminal.resize(50, 120);
	const large = await terminal.shows((lines) => lines.length > 20);
	assert.ok(large.some((line) => line.length > 30 && line.includes(waiting.queue)));
	assert.match(terminal.text, /\x1b\[2mavailable\x1b\[0m/, 'states have their colours');
	process.kill(terminal.pid, 'SIGTERM');
	await terminal.exited;
	assert.ok(terminal.text.includes(LEAVE));
});

for (const signal of ['SIGINT', 'SIGHUP', 'SIGQUIT'])
	test(`${signal} leaves the screen as it was`, async () => {
		const terminal = new Terminal(24, 80);
		await terminal.shows((lines) => lines.length > 5);
		process.kill(terminal.pid, signal);
		await terminal.exited;
		assert.ok(terminal.text.includes(LEAVE));
		assert.equal(terminal.text.split(LEAVE).length, terminal.text.split(ENTER).length);
	});

test('stopped and continued it gives the screen back, and takes it again', async () => {
	const terminal = new Terminal(24, 80);
	await terminal.shows((lines) => lines.length > 5);
	const { pid, script } = terminal;
	process.kill(pid, 'SIGTSTP');
	const state = () => execFileSync('ps', ['-o', 'stat=', '-p', pid], { encoding: 'utf8' });
	for (const end = Date.now() + 60_000; !state().startsWith('T'); ) {
		assert.ok(Date.now() < end, state());
		await new Promise((r) => setTimeout(r, 20));
	}
	script.kill('SIGCONT'); // it stops with what it runs
	process.kill(pid, 'SIGCONT');
	await terminal.shows(() => terminal.text.includes(`${LEAVE}${ENTER}`));
	process.kill(pid, 'SIGTERM');
	await terminal.exited;
	assert.equal(terminal.text.split(LEAVE).length, 3);
});

test('a database that goes away and comes back', async () => {
	const terminal = new Terminal(24, 100);
	await terminal.shows((lines) => lines.length > 5);
	await db.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = 'interlock command'`).catch(() => {});
	const admin = new Database(urls.admin_url);
	await admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = 'interlock command'`);
	admin.close();
	await terminal.shows(() => terminal.text.includes('the database is not available'));
	await terminal.shows((lines) => lines.some((line) => /^available/.test(line)));
	process.kill(terminal.pid, 'SIGTERM');
	await terminal.exited;
});

test('usage', async () => {
	const { status, stderr } = top('--interval', '1ms');
	assert.equal(status, 2);
	assert.match(stderr, /--interval: got "1ms"/);
});

await stage.play();
