// What a person at a terminal sees (script's, which is a real one): colours, alike of both programs, and how
// far long work is; and that a pipe gets neither.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import * as stage from './stage.mjs';
import { Coordinator, test } from './stage.mjs';

const { INTERLOCK_BIN, INTERLOCKD_BIN } = process.env;
const unstarted = new Coordinator('terminal', await stage.newDatabase('terminal')); // is never started
unstarted.write();
const { file } = unstarted;
const interlock = `${INTERLOCK_BIN} -c ${file}`;
const { TERM, NO_COLOR, ...plain } = process.env;

// What appears when it is typed in.
const typed = (command, env = { TERM: 'xterm' }) => {
	const options = { encoding: 'utf8', env: { ...plain, ...env } };
	const { status, stdout } = spawnSync('script', ['-qec', command, '/dev/null'], options);
	assert.equal(status, 0, stdout);
	return stdout.replaceAll('\r\n', '\n');
};

execFileSync(INTERLOCK_BIN, ['-c', file, 'migrate']);
const named = (n, of) => Array.from({ length: n }, (_, i) => ({ id: randomUUID(), name: `n${i}`, ...of() }));
const workflows = named(11, () => {
	const [trigger, job] = [randomUUID(), randomUUID()];
	return {
		jobs: [{ id: job, name: 'job', adaptor: '@openfn/language-common@3.2.3', body: '' }],
		triggers: [{ id: trigger, type: 'webhook', enabled: true }],
		edges: [{ id: randomUUID(), source_trigger_id: trigger, target_job_id: job }],
	};
});
const project = { id: randomUUID(), name: 'p', credentials: named(120, () => ({ body: { user: 'u' } })), workflows };
const input = `echo '${JSON.stringify(project)}' | `;

// -- How far long work is -------------------------------------------------------------------------------

const steps = (what, ...done) => done.map((n) => `${n} of ${done.at(-1)} ${what}`).join('\r') + '\n';
for (const [name, command, progress] of [
	['import', `${input} ${interlock} import -`, steps('workflows', ...workflows.map((_, i) => i + 1))],
	['enqueue', `${interlock} enqueue n0 --count 2001`, steps('runs', 1000, 2000, 2001)],
	['rekey', `${interlock} rekey`, steps('credentials', 100, 120)],
	['verify', `${interlock} verify`, steps('projects', 0, 1)],
])
	test(`${name} shows how far it is`, () => assert.equal(typed(`${command} >/dev/null`), progress));

test('what else is printed takes the place of it', () => {
	const lines = typed(`${interlock} enqueue n0 --count 1001`).split('\n');
	assert.equal(lines.filter((line) => /^(\d+ of 1001 runs\r)?[0-9a-f-]{36}  [0-9a-f-]{36}$/.test(line)).length, 1001);
});

test('a pipe gets no progress', () => {
	assert.equal(typed(`${interlock} enqueue n0 --count 1001 2>&1 >/dev/null | cat`), '');
	assert.equal(typed(`${interlock} verify 2>&1 >/dev/null | cat`), '');
});

// -- Colours --------------------------------------------------------------------------------------------

const rows = `${interlock} runs --limit 1`;
const line = `${INTERLOCKD_BIN} || true`; // which says that it has no keys
for (const [env, coloured] of [
	[{ TERM: 'xterm' }, true],
	[{ TERM: 'xterm', NO_COLOR: '' }, true],
	[{ TERM: 'xterm', NO_COLOR: '1' }, false],
	[{ TERM: 'dumb' }, false],
	[{ TERM: '' }, false],
])
	test(`${JSON.stringify(env)}: colours, or none`, () => {
		assert.match(typed(rows, env), coloured ? /\x1b\[2mavailable\x1b\[0m/ : /^[^\x1b]*available[^\x1b]*$/);
		assert.match(typed(line, env), coloured ? /level=\x1b\[1;31merror\x1b\[0m / : /^[^\x1b]*level=error[^\x1b]*$/);
	});

test('a pipe gets none', () => {
	assert.match(typed(`${rows} | cat`), /^[^\x1b]*available[^\x1b]*$/);
	assert.match(typed(`{ ${line}; } 2>&1 | cat`), /^[^\x1b]*level=error[^\x1b]*$/);
});

await stage.play();
