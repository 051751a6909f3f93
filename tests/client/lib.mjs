// What everything here that speaks to the daemon shares: worker tokens, the official client's calls
// as promises, and a bare socket that shows every frame as it came. Nothing here knows what a run is.

import { createHmac, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Socket } from 'phoenix';
import WebSocket from 'ws';

export { Socket, WebSocket };

const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

// The secret is the text of the file; an editor's last newline is not part of it.
export const readSecret = (file) => readFileSync(file, 'utf8').replace(/\r?\n$/, '');

export const sign = (secret, claims, header = { alg: 'HS256', typ: 'JWT' }) => {
	const body = `${base64url(header)}.${base64url(claims)}`;
	return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
};

export const workerClaims = () => ({
	worker_id: randomUUID(),
	iat: Math.floor(Date.now() / 1000),
	iss: 'urn:openfn:worker',
});

export const workerParams = (secret) => ({
	token: sign(secret, workerClaims()),
	api_version: '1.2',
	worker_version: '1.25.0',
});

// Microseconds since the epoch, as digits.
export const timestamp = () => String(BigInt(Date.now()) * 1000n);

// -- The official client --------------------------------------------------------------------------

// The socket reconnects forever, as the real worker's does; resolves when it is first open.
export const connect = (url, params) =>
	new Promise((resolve) => {
		const socket = new Socket(url, {
			params,
			transport: WebSocket,
			timeout: 30_000,
			reconnectAfterMs: (tries) => Math.min(tries, 10) * 1000,
		});
		socket.onOpen(() => resolve(socket));
		socket.connect();
	});

// Resolves with {status, response} whatever the answer is; status is "timeout" when none came.
export const push = (channel, event, payload = {}, timeout = 30_000) =>
	new Promise((resolve) => {
		const answer = (status) => (response) => resolve({ status, response });
		channel
			.push(event, payload, timeout)
			.receive('ok', answer('ok'))
			.receive('error', answer('error'))
			.receive('timeout', answer('timeout'));
	});

export const join = (socket, topic, payload = {}) =>
	new Promise((resolve, reject) => {
		const channel = socket.channel(topic, payload);
		channel
			.join()
			.receive('ok', () => resolve(channel))
			.receive('error', (response) => {
				channel.leave();
				reject(new Error(`[${topic}] join refused: ${JSON.stringify(response)}`));
			});
	});

// -- The bare socket ------------------------------------------------------------------------------

export const decodeBinary = (data) => {
	const sizes = [...data.subarray(1, 5)];
	let at = 5;
	const strings = sizes.map((n) => data.toString('utf8', at, (at += n)));
	return { kind: data[0], strings, body: data.subarray(at) };
};

export const encodeBinary = (kind, strings, body) => {
	const parts = strings.map((s) => Buffer.from(s));
	return Buffer.concat([
		Buffer.from([kind, ...parts.map((p) => p.length)]),
		...parts,
		Buffer.from(body),
	]);
};

// One connection without any client in between. What arrives is an item of `inbox`: {text: "…"},
// {binary: Buffer} or {close: code}; next() takes the oldest.
export class Wire {
	inbox = [];
	#waiting = null;

	constructor(url, params) {
		this.ws = new WebSocket(`${url}/websocket?${new URLSearchParams(params)}`);
		this.ws.on('message', (data, binary) =>
			this.#arrived(binary ? { binary: data } : { text: data.toString() }),
		);
		this.ws.on('close', (code) => this.#arrived({ close: code }));
		// The HTTP status of the handshake; 0 if there was no answer.
		this.status = new Promise((resolve) => {
			this.ws.on('open', () => resolve(101));
			this.ws.on('unexpected-response', (request, response) => {
				request.destroy();
				resolve(response.statusCode);
			});
			this.ws.on('error', () => resolve(0));
		});
	}

	#arrived(item) {
		this.inbox.push(item);
		this.#waiting?.();
	}

	async next(timeout = 60_000) {
		if (!this.inbox.length) {
			await new Promise((resolve, reject) => {
				const timer = setTimeout(
					() => reject(new Error(`nothing came within ${timeout} ms`)),
					timeout,
				);
				this.#waiting = () => {
					clearTimeout(timer);
					resolve();
				};
			});
			this.#waiting = null;
		}
		return this.inbox.shift();
	}

	send(frame, options = {}) {
		this.ws.send(frame, options);
	}

	close(code) {
		this.ws.close(code);
	}

	// Hangs up without a word, as a crash or a cut cable does.
	cut() {
		this.ws.terminate();
	}
}

// -- One conversation ----------------------------------------------------------------------------

// A worker's socket on which every request waits for its own reply: ask() resolves with {status,
// response, text} (`text`: the response as it came) whatever the answer is, join() notes the join_ref under
// which a topic is spoken of. Nothing is sent twice and nothing reconnects.
export class Worker {
	#ref = 0;
	#asked = new Map();
	#joinRefs = new Map();
	pushed = [];

	constructor(url, secret, id = randomUUID()) {
		const token = sign(secret, { ...workerClaims(), worker_id: id });
		const query = new URLSearchParams({ ...workerParams(secret), token, vsn: '2.0.0' });
		this.ws = new WebSocket(`${url}/websocket?${query}`);
		this.ws.on('message', (data, binary) => this.#arrived(data, binary));
		this.opened = new Promise((resolve, reject) => {
			this.ws.on('open', () => resolve(this));
			this.ws.on('error', reject);
		});
		this.closed = new Promise((resolve) => this.ws.on('close', resolve));
		this.closed.then((code) => {
			for (const { reject } of this.#asked.values())
				reject(new Error(`the socket was closed with ${code}`));
		});
	}

	get isOpen() {
		return this.ws.readyState === WebSocket.OPEN;
	}

	#arrived(data, binary) {
		const [, ref, topic, event, payload] = binary ? [] : JSON.parse(data);
		const reply = binary
			? (({ strings, body }) => [strings[1], strings[2], strings[3], body.toString()])(decodeBinary(data))
			: event === 'phx_reply' && [ref, topic, payload.status, JSON.stringify(payload.response)];
		if (!reply) return this.pushed.push({ topic, event, payload });
		const [asked, of, status, text] = reply;
		if (this.#asked.get(asked)?.topic !== of) return; // to what was not asked, or was answered before
		this.#asked.get(asked).resolve({ status, response: JSON.parse(text), text });
		this.#asked.delete(asked);
	}

	async ask(topic, event, payload = {}, timeout = 40_000) {
		if (!this.isOpen) throw new Error('the socket is closed');
		const ref = String(++this.#ref);
		if (event === 'phx_join') this.#joinRefs.set(topic, ref);
		this.ws.send(
			JSON.stringify([this.#joinRefs.get(topic) ?? null, ref, topic, event, payload]),
		);
		return new Promise((resolve, reject) => {
			const late = () => reject(new Error(`no reply to ${event} within ${timeout} ms`));
			const timer = setTimeout(late, timeout);
			const settled = (settle) => (value) => {
				clearTimeout(timer);
				settle(value);
			};
			this.#asked.set(ref, { topic, resolve: settled(resolve), reject: settled(reject) });
		});
	}

	join(topic, payload = {}) {
		return this.ask(topic, 'phx_join', payload);
	}

	// Hangs up without a word.
	cut() {
		this.ws.terminate();
		return this.closed;
	}
}
