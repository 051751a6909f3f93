// What the recorded traffic of the real worker (data/) needs to be played again: its ids exchanged
// for ours, and replies found by the request that they answer.

import { readFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { Wire, decodeBinary, readSecret, workerParams } from './lib.mjs';

const UUID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

export const lines = (file) =>
	readFileSync(new URL(`data/${file}`, import.meta.url), 'utf8')
		.trim()
		.split('\n')
		.map((line) => JSON.parse(line));

// Known ids become what `ids` says; every other UUID becomes a fresh one, always the same, so that
// a recording can be played more than once.
export const translator = (ids) => {
	const known = new Map(Object.entries(ids));
	const uuid = (id) => {
		if (!known.has(id)) known.set(id, randomUUID());
		return known.get(id);
	};
	const translate = (value) => {
		if (typeof value === 'string') return known.get(value) ?? value.replace(UUID, uuid);
		if (typeof value !== 'object' || value === null) return value;
		if (Array.isArray(value)) return value.map(translate);
		return Object.fromEntries(
			Object.entries(value).map(([key, item]) => [key, translate(item)]),
		);
	};
	return translate;
};

// A worker's socket on which replies may be awaited in any order.
export class Session {
	#wire;
	#came = new Map();
	#sent = new Set(); // refs: what an earlier connection asked may be answered on this one too

	static async open() {
		const params = {
			...workerParams(readSecret(process.env.WORKER_SECRET_FILE)),
			vsn: '2.0.0',
		};
		const session = new Session();
		session.#wire = new Wire(`${process.env.INTERLOCK_URL}/worker`, params);
		const status = await session.#wire.status;
		if (status !== 101) throw new Error(`the handshake was answered ${status}`);
		return session;
	}

	send(frame) {
		this.#sent.add(frame[1]);
		this.#wire.send(JSON.stringify(frame));
	}

	// {status, response} of the request, or {status, body} where the reply was binary.
	reply(ref) {
		return this.#arrival(`reply ${ref}`);
	}

	// The phx_close of the channel that was joined so.
	closed(joinRef) {
		return this.#arrival(`phx_close ${joinRef}`);
	}

	async ask(frame) {
		this.send(frame);
		return this.reply(frame[1]);
	}

	cut() {
		this.#wire.cut();
	}

	async #arrival(key) {
		while (!this.#came.has(key)) {
			const { text, binary, close } = await this.#wire.next();
			if (close) throw new Error(`closed with ${close} instead of ${key}`);
			if (binary) {
				const { strings, body } = decodeBinary(binary);
				this.#came.set(`reply ${strings[1]}`, {
					status: strings[3],
					body: body.toString(),
				});
			} else {
				const [joinRef, ref, , event, payload] = JSON.parse(text);
				if (event === 'phx_reply' && !this.#sent.has(ref)) continue;
				const name = event === 'phx_reply' ? `reply ${ref}` : `${event} ${joinRef}`;
				if (this.#came.has(name) && ref)
					throw new Error(`a second answer to ${ref}: ${text}`);
				this.#came.set(name, payload);
			}
		}
		const payload = this.#came.get(key);
		this.#came.delete(key);
		return payload;
	}
}

// Plays every item; prints what fails, and the sums last. The exit status says the same.
export const all = async (items, name, play) => {
	let failed = 0;
	for (const item of items) {
		try {
			await play(item);
			if (process.argv.includes('-v')) console.log(`ok    ${name(item)}`);
		} catch (error) {
			failed++;
			console.log(`FAIL  ${name(item)}\n\t${error.message}`);
		}
	}
	console.log(`${items.length - failed} passed, ${failed} failed`);
	process.exit(failed ? 1 : 0);
};

export const assert = (holds, ...sentence) => {
	const show = (part) => (typeof part === 'string' ? part : JSON.stringify(part));
	if (!holds) throw new Error(sentence.map(show).join(' '));
};
