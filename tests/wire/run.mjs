// Plays the transcripts (*.t) against a running daemon and its database. A transcript reads like the
// conversation it is: what is sent, what must come back, what must then stand in the database. There
// are no sleeps: a step waits for an event, or fails. README.md in this folder is the language.
//
//   node run.mjs [-v] [FILE…]    INTERLOCK_URL=ws://… DATABASE_OWNER_URL=… WORKER_SECRET_FILE=…
//                                CREDENTIAL_KEY_FILE=… INTERLOCK_CONF=… INTERLOCKD_BIN=…

import { randomUUID } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Database, empty, fixture } from '../client/db.mjs';
import { Wire, decodeBinary, encodeBinary, readSecret, workerParams } from '../client/lib.mjs';
import { Mismatch, demand, expand, pattern, refusal, rowsMatch, table, warning } from './match.mjs';
import { claimsOf, forge } from './token.mjs';

const { INTERLOCK_URL, DATABASE_OWNER_URL, WORKER_SECRET_FILE } = process.env;
const secret = readSecret(WORKER_SECRET_FILE);
const db = new Database(DATABASE_OWNER_URL);

// -- Reading --------------------------------------------------------------------------------------

const definitions = {};

// A file's tests: {name, file, steps}, a step being {line, text, rows}. What begins with two tabs
// continues the line above, what begins with "=" is a row that the step above expects.
const read = (path) => {
	const file = basename(path);
	const tests = [];
	let steps = null;
	readFileSync(path, 'utf8')
		.split('\n')
		.forEach((raw, index) => {
			const line = `${file}:${index + 1}`;
			const text = raw.trim();
			if (!text || text.startsWith('#')) return;
			const [, keyword, name] = text.match(/^(test|define) (.+)$/) ?? [];
			if (keyword === 'test') tests.push({ name, file, steps: (steps = []) });
			else if (keyword === 'define') definitions[name] = steps = [];
			else if (!steps) throw new Error(`${line}: a step outside of any test`);
			else if (text.startsWith('=')) steps.at(-1).rows.push({ line, text: text.slice(1) });
			else if (raw.startsWith('\t\t')) steps.at(-1).text += `\n${text}`;
			else steps.push({ line, text, rows: [] });
		});
	return tests.flatMap(multiplied);
};

// A test that begins with `each a | b` is as many tests as there are rows below it; in each of them ${a}
// and ${b} are what the row says.
const multiplied = (test) => {
	const [, names] = test.steps[0]?.text.match(/^each (.+)$/) ?? [];
	if (!names) return [test];
	const [{ rows }, ...steps] = test.steps;
	return rows.map(({ text: row }) => {
		const cells = row.split(/ \|(?= |$)/).map((cell) => cell.trim());
		const filled = (text) =>
			names
				.split(' | ')
				.reduce((done, name, i) => done.replaceAll(`\${${name}}`, () => cells[i]), text);
		const step = ({ line, text, rows: wanted }) => ({
			line,
			text: filled(text),
			rows: wanted.map((each) => ({ ...each, text: filled(each.text) })),
		});
		return { ...test, name: filled(test.name), steps: steps.map(step) };
	});
};

// -- Playing --------------------------------------------------------------------------------------

class Test {
	url = INTERLOCK_URL;
	sockets = {};
	speaker = ''; // the socket meant where none is named
	refs = 100;

	async start(steps) {
		const [, given] = steps[0]?.text.match(/^given (.*)$/s) ?? [];
		this.vars = await fixture(db, given && JSON.parse(given));
		this.vars.token = '';
		await this.play(given ? steps.slice(1) : steps);
		for (const [name, { inbox, unclean }] of Object.entries(this.sockets)) {
			const left = inbox.filter((item) => !item.close && !workAvailable(item));
			if (left.length)
				throw new Mismatch(`nothing more on ${name || 'the socket'}`, seen(left[0]));
			// A worker takes it for a clean end and never comes back.
			if (unclean) throw new Error('the daemon closed a socket with 1000');
		}
	}

	async play(steps) {
		for (const step of steps) {
			const [run, groups] = verb(step);
			try {
				await run.call(this, groups, step);
			} catch (error) {
				error.line ??= step.line;
				throw error;
			}
		}
	}

	fill(text) {
		return expand(text, this.vars);
	}

	async connect(name, overrides = '', path = '/worker') {
		const params = { ...workerParams(secret), vsn: '2.0.0' };
		for (const word of overrides.trim().split(/\s+/).filter(Boolean)) {
			const [, key, value] = word.match(/^-?(\w+)=?(.*)$/s);
			if (word.startsWith('-')) delete params[key];
			else params[key] = value;
		}
		const socket = (this.sockets[name] = new Wire(`${this.url}${path}`, params));
		socket.ws.on('close', (code) => (socket.unclean = code === 1000 && !socket.left));
		return socket.status;
	}

	async socket(name) {
		if (!this.sockets[name]) {
			const status = await this.connect(name);
			if (status !== 101) throw new Mismatch('the handshake to answer 101', status);
		}
		return this.sockets[name];
	}

	async expect(name, want, strict = want[3] === 'work-available') {
		const socket = await this.socket(name);
		const until = Date.now() + 60_000;
		let item;
		for (;;) {
			item = seen(await socket.next());
			if (!strict && item[3] === 'work-available') continue;
			// As in claimAgain().
			if (claimed(item) !== 0 || !claimed(want) || Date.now() > until) break;
			socket.send(socket.said);
		}
		// The body of a binary reply is compared as text when the pattern gives text.
		if (item[0] === 'binary' && typeof want[5] !== 'string') item[5] = JSON.parse(item[5]);
		demand(want, item, this.vars);
	}

	// The daemon may not know yet of a run that was inserted a moment ago: a claim that found nothing is
	// sent again.
	claimAgain() {
		for (const socket of Object.values(this.sockets)) {
			const at = socket.inbox.findIndex((item) => item.text && claimed(seen(item)) === 0);
			if (at < 0 || !socket.said?.includes('"claim"')) continue;
			socket.inbox.splice(at, 1);
			socket.send(socket.said);
		}
	}

	end() {
		for (const socket of Object.values(this.sockets)) socket.cut();
	}
}

// How many runs the reply to a claim brings.
const claimed = ([, , , , payload]) => payload?.response?.runs?.length;

// A received item as the list that patterns are written against.
const seen = ({ text, binary, close }) => {
	if (text !== undefined) return JSON.parse(text);
	if (binary === undefined) return ['close', close];
	const { kind, strings, body } = decodeBinary(binary);
	return kind === 1 ? ['binary', ...strings, body.toString()] : ['hex', binary.toString('hex')];
};

const workAvailable = (item) => item.text !== undefined && seen(item)[3] === 'work-available';

// The reply that a request in one line expects.
const reply = (verdict, text) => {
	if (verdict === 'error') return { status: 'error', response: pattern(text) };
	if (verdict === 'refused') return { status: 'error', response: refusal(text) };
	const response = verdict === 'warned' ? warning(text) : pattern(text ?? '{}');
	return { status: 'ok', response };
};

// Daemons with options of their own, by these options; the first test that needs one starts it.
const daemons = new Map();

// The language: how a step looks, and what it does with what was found in it.
const VERBS = [
	[
		/^daemon (\{.*)$/s,
		async function ([options]) {
			const { Coordinator } = await import('./stage.mjs');
			if (!daemons.has(options)) {
				const name = `transcripts-${daemons.size}`;
				// A run that a test has left lying is not given back to the next ones.
				const { claims, ...rest } = JSON.parse(options);
				const patient = { claims: { join_timeout: '30m', ...claims }, ...rest };
				daemons.set(options, await Coordinator.start(name, patient));
			}
			this.url = `ws://${daemons.get(options).address}`;
		},
	],
	[
		/^connect(?: ([A-Z]))?(?: (\/\S+))?((?: -\w+| \w+=\S*)*) -> (\d+)$/s,
		async function ([name, path, overrides, status]) {
			const got = await this.connect(name ?? this.speaker, this.fill(overrides), path);
			if (got !== Number(status))
				throw new Mismatch(`the handshake to answer ${status}`, got);
		},
	],
	[
		/^([A-Z]?)> (?:(binary|hex|text hex)(?: |$))?(.*)$/s,
		async function ([name, form, raw]) {
			const text = this.fill(raw);
			const socket = await this.socket(name || this.speaker);
			const bytes = () => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
			if (form === 'hex') socket.send(bytes());
			else if (form === 'text hex') socket.ws.send(bytes(), { binary: false });
			else if (form === 'binary') socket.send(encodeBinary(0, ...split(JSON.parse(text))));
			else socket.send((socket.said = text));
		},
	],
	[
		/^([A-Z]?)< close (\d+|\*)$/s,
		async function ([name, code]) {
			await this.expect(name || this.speaker, ['close', code === '*' ? '*' : Number(code)]);
		},
	],
	[
		// Nothing has come (unnotified: no `work-available` either): the answer to a heartbeat is the next frame.
		/^([A-Z]?)< (quiet|unnotified)$/s,
		async function ([name, what]) {
			const ref = randomUUID();
			(await this.socket(name || this.speaker)).send(
				JSON.stringify([null, ref, 'phoenix', 'heartbeat', {}]),
			);
			const answer = [null, ref, 'phoenix', 'phx_reply', '*'];
			await this.expect(name || this.speaker, answer, what === 'unnotified');
		},
	],
	[
		/^([A-Z]?)< (binary )?(\[.*)$/s,
		async function ([name, binary, text]) {
			const want = pattern(this.fill(text));
			await this.expect(name || this.speaker, binary ? ['binary', ...want] : want);
		},
	],
	[
		// A request and its reply in one line; channels are joined as in _common.t.
		/^(?:([A-Z]) )?(phx_join|claim|(?:run|step|fetch):\w+) (.*?) -> (ok|warned|refused|error|binary)(?: (.*))?$/s,
		async function ([name, event, payload, verdict, text]) {
			const speaker = name ?? this.speaker;
			const topic = event === 'claim' ? 'worker:queue' : `run:${this.vars.run}`;
			const joinRef = event === 'claim' ? '1' : '3';
			const ref = event === 'phx_join' ? joinRef : String(++this.refs);
			const head = JSON.stringify([joinRef, ref, topic, event]).slice(0, -1);
			const socket = await this.socket(speaker);
			socket.send((socket.said = `${head},${this.fill(payload)}]`));
			const want = text && this.fill(text);
			if (verdict === 'binary') {
				const body = pattern(want);
				await this.expect(speaker, ['binary', joinRef, ref, topic, 'ok', body]);
			} else {
				const answer = reply(verdict, want);
				await this.expect(speaker, [joinRef, ref, topic, 'phx_reply', answer]);
			}
		},
	],
	[
		/^(close|cut)(?: ([A-Z]))?(?: (\d+))?$/s,
		async function ([how, name, code]) {
			const socket = await this.socket(name ?? this.speaker);
			socket.left = true;
			if (how === 'cut') socket.cut();
			else socket.close(code && Number(code));
		},
	],
	[
		/^(?:([A-Z]) )?do (.+)$/s,
		async function ([name, definition]) {
			const speaker = this.speaker;
			if (!definitions[definition]) throw new Error(`nothing is defined as "${definition}"`);
			this.speaker = name ?? speaker;
			await this.play(definitions[definition]);
			this.speaker = speaker;
		},
	],
	[
		/^new ([\w ]+)$/s,
		function ([names]) {
			for (const name of names.split(' ')) this.vars[name] = randomUUID();
		},
	],
	[
		/^let (\w+) = (.*)$/s,
		function ([name, text]) {
			this.vars[name] = this.fill(text);
		},
	],
	[
		// A token like a worker's, or like this run's, with what the step says differently.
		/^(run )?token (\w+) (\{.*)$/s,
		function ([run, name, text]) {
			this.vars[name] = forge(JSON.parse(this.fill(text)), run && this.vars.token);
		},
	],
	[
		/^claims (\S+) (\{.*)$/s,
		function ([token, text]) {
			demand(pattern(this.fill(text)), claimsOf(this.fill(token)), this.vars);
		},
	],
	[
		// What the database itself refuses.
		/^sql (.*) -> "(.*)"$/s,
		async function ([statement, sentence]) {
			const why = await db.query(this.fill(statement)).then(
				() => 'nothing wrong',
				(error) => error.message,
			);
			if (!why.includes(this.fill(sentence))) throw new Mismatch(sentence, why);
		},
	],
	[
		/^sql (.*)$/s,
		async function ([statement]) {
			await db.query(this.fill(statement));
		},
	],
	[
		/^(wait )?sql> (.*)$/s,
		async function ([wait, statement], { rows }) {
			const want = rows.map(({ text }) => this.fill(text).split('|'));
			const query = this.fill(statement);
			const holds = (got) => rowsMatch(got, want, this.vars);
			const awaited = (got) => holds(got) || this.claimAgain();
			const got = wait ? await db.until(query, awaited) : await db.query(query);
			if (!holds(got)) throw new Mismatch(table(want), table(got));
		},
	],
	[
		/^http ([A-Z]+) (\S+)(?: \[([\w-]+): (.*?)\])?(?: (.*?))? -> (\d+)(?: (.*))?$/s,
		async function ([method, path, header, value, body, status, text]) {
			const response = await fetch(this.url.replace(/^ws/, 'http') + this.fill(path), {
				method,
				headers: header ? { [header]: this.fill(value) } : {},
				body: body && this.fill(body),
			});
			const got = await response.text();
			if (response.status !== Number(status))
				throw new Mismatch(status, `${response.status} ${got}`);
			if (text?.startsWith('"')) {
				// Text that is not JSON: it holds this.
				if (!got.includes(JSON.parse(text))) throw new Mismatch(text, got);
			} else if (text) demand(pattern(this.fill(text)), JSON.parse(got), this.vars);
		},
	],
];

const split = (list) => [list.slice(0, 4), list[4]];

const verb = ({ line, text }) => {
	for (const [form, run] of VERBS) {
		const found = text.match(form);
		if (found) return [run, found.slice(1)];
	}
	throw Object.assign(new Error(`not a step: ${text}`), { line });
};

// -- Running --------------------------------------------------------------------------------------

const here = dirname(fileURLToPath(import.meta.url));
const transcripts = readdirSync(here)
	.filter((name) => name.endsWith('.t'))
	.sort();
const verbose = process.argv.includes('-v');
const named = process.argv.slice(2).filter((arg) => arg !== '-v');
// What begins with "_" only defines.
const common = transcripts.filter((name) => name.startsWith('_'));
for (const name of common) read(join(here, name));
const files = named.length
	? named
	: transcripts.filter((name) => !common.includes(name)).map((name) => join(here, name));

let passed = 0;
let failed = 0;
for (const { name, file, steps } of files.flatMap(read)) {
	const test = new Test();
	try {
		await test.start(steps);
		passed++;
		if (verbose) console.log(`ok    ${file}: ${name}`);
	} catch (error) {
		failed++;
		console.log(`FAIL  ${error.line ?? file}: ${name}\n\t${error.message}`);
		await db.query('ROLLBACK');
	}
	test.end();
	await empty(db);
}
for (const daemon of daemons.values())
	await daemon.stop().catch((error) => {
		failed++;
		console.log(`FAIL  ${error.message}`);
	});
db.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
