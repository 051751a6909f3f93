// Plays the transcripts (*.t) against a running daemon and its database. A transcript reads like the
// conversation it is: what is sent, what must come back, what must then stand in the database. There
// are no sleeps: a step waits for an event, or fails. README.md in this folder is the language.
//
//   node run.mjs [-v] [FILE…]    INTERLOCK_URL=ws://… DATABASE_OWNER_URL=… WORKER_SECRET_FILE=…

import { randomUUID } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Database, empty, fixture } from '../client/db.mjs';
import {
	Wire,
	decodeBinary,
	encodeBinary,
	readSecret,
	sign,
	timestamp,
	workerClaims,
	workerParams,
} from '../client/lib.mjs';

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
	return tests;
};

// -- Matching -------------------------------------------------------------------------------------

class Mismatch extends Error {
	constructor(expected, got) {
		super(`expected ${expected}\n\tgot      ${got}`);
	}
}

const show = (value) => {
	const text = typeof value === 'string' ? value : JSON.stringify(value);
	return text.length > 2000 ? `${text.slice(0, 2000)}… (${text.length})` : text;
};

// ${name}, ${now}, and ${x*1000} for a thousand x. ${name:=} is for match().
const expand = (text, vars) =>
	text.replace(/\$\{(?:(.)\*(\d+)|(\w+))\}/g, (all, letter, times, name) => {
		if (letter) return letter.repeat(times);
		if (name === 'now') return timestamp();
		if (name in vars) return vars[name];
		throw new Error(`nothing is called ${all}`);
	});

// A pattern is JSON in which "..." may stand, bare, at the end of an object or of a list.
const pattern = (text) =>
	JSON.parse(
		text.replace(
			/([[{,]\s*)\.\.\.(?=\s*([}\]]))/g,
			(all, before, after) => `${before}"..."${after === '}' ? ':0' : ''}`,
		),
	);

const match = (want, got, vars) => {
	if (want === '*') return true;
	const [, name] = (typeof want === 'string' && want.match(/^\$\{(\w+):=\}$/)) || [];
	if (name) {
		vars[name] = typeof got === 'string' ? got : JSON.stringify(got);
		return true;
	}
	if (typeof want !== 'object' || want === null) return want === got;
	if (typeof got !== 'object' || got === null || Array.isArray(want) !== Array.isArray(got))
		return false;
	if (Array.isArray(want)) {
		const open = want.at(-1) === '...';
		const items = open ? want.slice(0, -1) : want;
		return (
			(open || items.length === got.length) &&
			items.every((item, i) => match(item, got[i], vars))
		);
	}
	const { '...': open, ...keys } = want;
	const closed = open === undefined && Object.keys(got).length !== Object.keys(keys).length;
	return (
		!closed &&
		Object.entries(keys).every(([key, value]) => key in got && match(value, got[key], vars))
	);
};

const rowsMatch = (rows, want, vars) =>
	rows.length === want.length &&
	want.every((row, i) =>
		match(
			row.map((cell) => cell.trim()),
			rows[i],
			vars,
		),
	);

// -- Playing --------------------------------------------------------------------------------------

class Test {
	sockets = {};
	speaker = ''; // the socket meant where none is named

	async start(steps) {
		const [, given] = steps[0]?.text.match(/^given (.*)$/s) ?? [];
		this.vars = await fixture(db, given && JSON.parse(given));
		this.vars.token = '';
		await this.play(given ? steps.slice(1) : steps);
		for (const [name, { inbox }] of Object.entries(this.sockets)) {
			const left = inbox.filter((item) => !item.close && !workAvailable(item));
			if (left.length)
				throw new Mismatch(`nothing more on ${name || 'the socket'}`, show(seen(left[0])));
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

	async connect(name, overrides = '') {
		const params = { ...workerParams(secret), vsn: '2.0.0' };
		for (const word of overrides.trim().split(/\s+/).filter(Boolean)) {
			const [, key, value] = word.match(/^-?(\w+)=?(.*)$/s);
			if (word.startsWith('-')) delete params[key];
			else params[key] = value;
		}
		const socket = (this.sockets[name] = new Wire(`${INTERLOCK_URL}/worker`, params));
		return socket.status;
	}

	async socket(name) {
		if (!this.sockets[name]) {
			const status = await this.connect(name);
			if (status !== 101) throw new Mismatch('the handshake to answer 101', status);
		}
		return this.sockets[name];
	}

	async expect(name, want) {
		const socket = await this.socket(name);
		const patient = match(want[3], 'work-available', {});
		let item;
		do item = seen(await socket.next());
		while (!patient && item[3] === 'work-available');
		// The body of a binary reply is compared as text when the pattern gives text.
		if (item[0] === 'binary' && typeof want[5] !== 'string') item[5] = JSON.parse(item[5]);
		if (!match(want, item, this.vars)) throw new Mismatch(show(want), show(item));
	}

	end() {
		for (const socket of Object.values(this.sockets)) socket.cut();
	}
}

// A received item as the list that patterns are written against.
const seen = ({ text, binary, close }) => {
	if (text !== undefined) return JSON.parse(text);
	if (binary === undefined) return ['close', close];
	const { kind, strings, body } = decodeBinary(binary);
	return kind === 1 ? ['binary', ...strings, body.toString()] : ['hex', binary.toString('hex')];
};

const workAvailable = (item) => item.text !== undefined && seen(item)[3] === 'work-available';

// The language: how a step looks, and what it does with what was found in it.
const VERBS = [
	[
		/^connect(?: ([A-Z]))?((?: -\w+| \w+=\S*)*) -> (\d+)$/s,
		async function ([name, overrides, status]) {
			const got = await this.connect(name ?? this.speaker, expand(overrides, this.vars));
			if (got !== Number(status))
				throw new Mismatch(`the handshake to answer ${status}`, got);
		},
	],
	[
		/^([A-Z]?)> (?:(binary|hex) )?(.*)$/s,
		async function ([name, form, raw]) {
			const text = expand(raw, this.vars);
			const socket = await this.socket(name || this.speaker);
			if (form === 'hex') socket.send(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'));
			else if (form === 'binary') socket.send(encodeBinary(0, ...split(JSON.parse(text))));
			else socket.send(text);
		},
	],
	[
		/^([A-Z]?)< close (\d+|\*)$/s,
		async function ([name, code]) {
			await this.expect(name || this.speaker, ['close', code === '*' ? '*' : Number(code)]);
		},
	],
	[
		// Nothing has come: the answer to a heartbeat is the next frame.
		/^([A-Z]?)< quiet$/s,
		async function ([name]) {
			const ref = randomUUID();
			(await this.socket(name || this.speaker)).send(
				JSON.stringify([null, ref, 'phoenix', 'heartbeat', {}]),
			);
			await this.expect(name || this.speaker, [null, ref, 'phoenix', 'phx_reply', '*']);
		},
	],
	[
		/^([A-Z]?)< (binary )?(\[.*)$/s,
		async function ([name, binary, text]) {
			const want = pattern(expand(text, this.vars));
			await this.expect(name || this.speaker, binary ? ['binary', ...want] : want);
		},
	],
	[
		/^(close|cut)(?: ([A-Z]))?(?: (\d+))?$/s,
		async function ([how, name, code]) {
			const socket = await this.socket(name ?? this.speaker);
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
			this.vars[name] = expand(text, this.vars);
		},
	],
	[
		// A token like a worker's, with what the step says differently.
		/^token (\w+) (\{.*)$/s,
		function ([name, text]) {
			const { claims, header, secret: other } = JSON.parse(expand(text, this.vars));
			this.vars[name] = sign(other ?? secret, { ...workerClaims(), ...claims }, header);
		},
	],
	[
		/^sql (.*)$/s,
		async function ([statement]) {
			await db.query(expand(statement, this.vars));
		},
	],
	[
		/^(wait )?sql> (.*)$/s,
		async function ([wait, statement], { rows }) {
			const want = rows.map(({ text }) => expand(text, this.vars).split('|'));
			const query = expand(statement, this.vars);
			const holds = (got) => rowsMatch(got, want, this.vars);
			const got = wait ? await db.until(query, holds) : await db.query(query);
			if (!holds(got)) throw new Mismatch(table(want), table(got));
		},
	],
	[
		/^http ([A-Z]+) (\S+)(?: (.*?))? -> (\d+)(?: (.*))?$/s,
		async function ([method, path, body, status, text], step) {
			const url = INTERLOCK_URL.replace(/^ws/, 'http') + expand(path, this.vars);
			const response = await fetch(url, { method, body: body && expand(body, this.vars) });
			const got = await response.text();
			if (response.status !== Number(status))
				throw new Mismatch(status, `${response.status} ${show(got)}`);
			if (!text) return;
			const want = pattern(expand(text, this.vars));
			if (!match(want, JSON.parse(got), this.vars)) throw new Mismatch(show(want), show(got));
		},
	],
];

const split = (list) => [list.slice(0, 4), list[4]];
const table = (rows) =>
	rows.length ? rows.map((row) => row.join('|')).join('\n\t         ') : 'no rows';

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
	}
	test.end();
	await empty(db);
}
db.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
