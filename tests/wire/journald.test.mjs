// What `journalctl RUN_ID=…` shows of a run, by the real journald and the real journalctl: a journal of its own,
// in a mount namespace where nothing of the machine's is reached. Skipped where such a namespace is refused.

import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lose } from '../client/db.mjs';
import * as stage from './stage.mjs';
import { Coordinator, Held, db, given, test } from './stage.mjs';

const folder = mkdtempSync(join(tmpdir(), 'interlock-journald-'));
mkdirSync(join(folder, 'log'));
mkdirSync(join(folder, 'systemd'));
stage.atEnd(() => rmSync(folder, { recursive: true, force: true }));
const socket = join(folder, 'systemd/journal.interlock/socket');
const files = join(folder, 'log/journal/*/*.journal');
const namespace = process.getuid() === 0 ? ['--mount'] : ['--user', '--map-root-user', '--mount'];
const inside = `mount --bind ${folder}/log /var/log && mount --bind ${folder} /run`;
const unshare = (command) => [...namespace, 'sh', '-c', `${inside} && ${command}`];

const turn = () => new Promise((resolve) => setTimeout(resolve, 50));
const until = async (what, holds) => {
	for (const end = Date.now() + 60_000; ; await turn()) {
		const found = holds();
		if (found) return found;
		assert.ok(Date.now() < end, `not within 60 s: ${what}`);
	}
};

// The lines that journalctl finds, oldest first.
const journalctl = (...matches) => {
	const args = ['-q', '-o', 'json', '--all', '--file', files, ...matches];
	const { stdout } = spawnSync('journalctl', args, { encoding: 'utf8' });
	return stdout.trim().split('\n').filter(Boolean).map((line) => JSON.parse(line));
};

test("journalctl shows what happened to a run", async () => {
	const journald = spawn('unshare', unshare('exec /lib/systemd/systemd-journald interlock'), { stdio: 'ignore' });
	stage.atEnd(() => journald.kill('SIGKILL'));
	await until('the socket of journald', () => existsSync(socket));
	const coordinator = await Coordinator.start('journald');
	await coordinator.reload({ log: { burst: '0' } });
	coordinator.write({ log: { target: 'journal', socket } });
	coordinator.child.kill('SIGHUP');

	const [id, another] = [await given(), await given()];
	const held = await Held.join(coordinator, id);
	const other = await Held.join(coordinator, another);
	const secret = `secret-${randomUUID()}`;
	await held.say('run:start', stage.runStart());
	await held.say('run:start', stage.runStart());
	await other.say('run:complete', { reason: 'sideways', secret });
	await held.say('step:start', stage.stepStart(randomUUID(), randomUUID()));
	await lose(db, id);
	await held.say('run:complete', stage.runComplete({ final_state: { secret } }));

	const fieldsOf = (lines) => lines.map(({ EVENT, CODE, PRIORITY }) => `${EVENT} ${CODE} ${PRIORITY}`);
	const story = await until('the last line', () => {
		const lines = journalctl(`RUN_ID=${id.run}`);
		return lines.at(-1)?.CODE === 'yielded' && lines;
	});
	assert.deepEqual(fieldsOf(story), ['run:start already_started 5', 'step:start does_not_exist 5', 'run:complete yielded 5']);
	assert.deepEqual(fieldsOf(journalctl(`RUN_ID=${another.run}`)), ['run:complete invalid 5']);
	const [worker] = new Set(story.map(({ WORKER }) => WORKER));
	assert.deepEqual(fieldsOf(journalctl(`WORKER=${worker}`)), fieldsOf(story));
	assert.deepEqual(fieldsOf(journalctl('EVENT=run:complete', 'CODE=yielded')), ['run:complete yielded 5']);
	for (const { SYSLOG_IDENTIFIER, _PID } of story) {
		assert.equal(SYSLOG_IDENTIFIER, 'interlockd');
		assert.equal(Number(_PID), coordinator.child.pid);
	}
	const everything = execFileSync('journalctl', ['-q', '--all', '--output=export', '--file', files]);
	assert.ok(!everything.includes(secret));
	await coordinator.stop();
});

const { status, stderr } = spawnSync('unshare', unshare('true'), { encoding: 'utf8' });
if (status === 0 && existsSync('/lib/systemd/systemd-journald')) await stage.play();
console.log(`skipped, no journald of our own here: ${stderr}\n0 passed, 0 failed`);
process.exit(0);
