// What transcripts expect, and how it is compared with what came.

import { timestamp } from '../client/lib.mjs';

export class Mismatch extends Error {
	constructor(expected, got) {
		super(`expected ${show(expected)}\n\tgot      ${show(got)}`);
	}
}

const show = (value) => {
	const text = typeof value === 'string' ? value : JSON.stringify(value);
	return text.length > 2000 ? `${text.slice(0, 2000)}… (${text.length})` : text;
};

// ${name}, ${now}, and ${x*1000} for a thousand x. ${name:=} is for match().
export const expand = (text, vars) =>
	text.replace(/\$\{(?:(.)\*(\d+)|(\w+))\}/g, (all, letter, times, name) => {
		if (letter) return letter.repeat(times);
		if (name === 'now') return timestamp();
		if (name in vars) return vars[name];
		throw new Error(`nothing is called ${all}`);
	});

// A pattern is JSON in which "..." may stand, bare, at the end of an object or of a list.
export const pattern = (text) =>
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

// Throws unless `got` is what the pattern wants; names what the pattern names.
export const demand = (want, got, vars) => {
	if (!match(want, got, vars)) throw new Mismatch(want, got);
};

// What a refusal looks like: FIELD "message" code [state]. Without a field (`-`) it is `base`, and the
// message is the `reason` too.
export const refusal = (text) => {
	const [, name, message, code, state] = text.match(/^(-|\w+) "(.*)" (\w+)(?: (\w+))?$/);
	const field = name === '-' ? 'base' : name;
	return {
		[field]: [message],
		errors: { [field]: [message] },
		...(name === '-' && { reason: message }),
		code,
		retryable: false,
		...(state && { current_state: state }),
	};
};

// The warnings of a reply that is ok otherwise: FIELD "message".
export const warning = (text) => {
	const [, field, message] = text.match(/^(\w+) "(.*)"$/);
	return { warnings: { [field]: [message] }, '...': 0 };
};

export const rowsMatch = (rows, want, vars) =>
	rows.length === want.length &&
	want.every((row, i) =>
		match(
			row.map((cell) => cell.trim()),
			rows[i],
			vars,
		),
	);

export const table = (rows) =>
	rows.length ? rows.map((row) => row.join('|')).join('\n\t         ') : 'no rows';
