// One connection of an attacker, and what must hold on it whatever is sent: each request that can be answered is
// answered once, in a form that the protocol knows, or the socket is closed. `broken` is called otherwise.

import { createHash } from 'node:crypto';
import { WebSocket, decodeBinary } from '../client/lib.mjs';

export const ANSWER_MS = 120_000; // for a hang: longer than any wait of the coordinator, on a busy machine too
const LEDGER_MS = 180_000; // requests are remembered as long at least: they wait, and their replies are sent again
const ANSWER_KEPT = 200; // characters of an answer; of a longer one a hash
const BELOW = 64; // refs before a connection's first that a join may answer
const PUSHES = ['work-available', 'phx_close', 'phx_error'];
// These have answers of their own, which the worker knows.
const OWN_ERRORS = ['phx_join', 'fetch:credential'];

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);

// What is wrong with a reply, or nothing.
const fault = ({ event }, status, response) => {
	if (!isObject(response)) return 'its response is no object';
	if (status === 'ok') return;
	if (status !== 'error') return 'its status is neither ok nor error';
	if (OWN_ERRORS.includes(event)) return;
	if (typeof response.code !== 'string' || typeof response.retryable !== 'boolean') return 'it has no code';
	if (!isObject(response.errors)) return 'it has no errors';
};

const short = (status, response) => {
	const text = JSON.stringify([status, response]);
	return text.length > ANSWER_KEPT ? createHash('sha1').update(text).digest('base64') : text;
};

// Who asked what by which ref, and what the answer was, of all attackers together: they share their claims, and a
// claim's replies are sent again to whoever joins its run on a later connection. Of runs only: of the queue only
// empty claims are sent again, whatever was asked.
export class Ledger {
	#recent = new Map(); // topic and ref → [{request, answer}]
	#older = new Map(); // of LEDGER_MS before
	#begun = Date.now();

	#entries({ topic, ref }) {
		const key = `${topic} ${ref}`;
		return [...(this.#older.get(key) ?? []), ...(this.#recent.get(key) ?? [])];
	}

	asked(request) {
		if (!request.topic.startsWith('run:')) return;
		if (Date.now() > this.#begun + LEDGER_MS)
			[this.#older, this.#recent, this.#begun] = [this.#recent, new Map(), Date.now()];
		const key = `${request.topic} ${request.ref}`;
		const entries = this.#recent.get(key);
		if (entries) entries.push({ request });
		else this.#recent.set(key, [{ request }]);
	}

	answered(request, status, response) {
		const entry = this.#entries(request).find((each) => each.request === request && !each.answer);
		if (entry) entry.answer = short(status, response);
	}

	// May this reply come on a connection whose first ref is `first`? Either a request of that ref was not
	// answered, or equally; or every request that can be open on that topic may be answered so.
	heals({ ref, topic, status, response }, first) {
		if (Number(ref) >= first) return false;
		const below = status === 'ok' && Number(ref) >= first - BELOW;
		if (below && topic === 'worker:queue' && JSON.stringify(response) === '{"runs":[]}') return true;
		if (below && topic.startsWith('run:') && response.warnings?.message?.[0] === 'could not be stored: lost') return true;
		return this.#entries({ topic, ref }).some(({ answer }) => !answer || answer === short(status, response));
	}
}

export class Line {
	#asked = new Map(); // ref → the requests that have it and are not answered, oldest first
	#answered = new Set();
	#room = [];
	asked = 0; // requests under way

	// `first`: the first ref of this connection; replies to older ones heal what an earlier connection lost.
	// `voided`: is called with the number of requests whose answers were lost with the socket.
	constructor(url, first, { ledger, answered, healed, voided, broken }) {
		Object.assign(this, { first, ledger, answered, healed, broken });
		this.ws = new WebSocket(url, { handshakeTimeout: ANSWER_MS });
		// With the status of the handshake; 0 if there was no answer.
		this.opened = new Promise((resolve) => {
			this.ws.on('open', () => resolve(101));
			// Left to us: without terminate() there is neither an error nor a close.
			this.ws.on('unexpected-response', (_, { statusCode }) => {
				resolve(statusCode);
				this.ws.terminate();
			});
			this.ws.on('error', ({ message }) => {
				if (/handshake has timed out/.test(message)) broken(`a handshake was not answered in ${ANSWER_MS} ms`);
				resolve(0);
			});
		});
		this.ws.on('message', (data, binary) => (binary ? this.#binary(data) : this.#text(data.toString())));
		this.closed = new Promise((resolve) => this.ws.on('close', resolve));
		this.closed.then(() => {
			voided(this.asked);
			this.asked = 0;
			this.#asked.clear();
			this.#wake();
		});
	}

	get isOpen() {
		return this.ws.readyState === WebSocket.OPEN;
	}

	#binary(data) {
		const { kind, strings, body } = decodeBinary(data);
		const [join_ref, ref, topic, status] = strings;
		if (kind !== 1) return this.broken(`a binary frame of kind ${kind}`);
		try {
			JSON.parse(body.toString());
		} catch {
			this.broken(`the body of a binary reply to ${topic} is not JSON`);
		}
		this.#reply(join_ref, ref, topic, status, {});
	}

	#text(text) {
		const frame = JSON.parse(text);
		if (!Array.isArray(frame) || frame.length !== 5) return this.broken(`a frame that is none: ${text}`);
		const [join_ref, ref, topic, event, payload] = frame;
		if (event === 'phx_reply') return this.#reply(join_ref, ref, topic, payload.status, payload.response);
		const own = event === 'phx_close' ? join_ref : null;
		if (ref !== own || !PUSHES.includes(event)) this.broken(`a push that is none: ${text.slice(0, 300)}`);
	}

	#reply(join_ref, ref, topic, status, response) {
		if (!/^\d+$/.test(ref)) return; // of a frame that was not to be answered in any way
		const [request, ...others] = this.#asked.get(ref) ?? [];
		const said = `${status} to ${ref} on ${topic}: ${JSON.stringify(response).slice(0, 300)}`;
		if (!request) {
			if (this.ledger.heals({ ref, topic, status, response }, this.first)) return this.healed();
			return this.broken(`${this.#answered.has(ref) ? 'answered twice' : 'never asked'}: ${said}`);
		}
		if (others.length) this.#asked.set(ref, others);
		else this.#asked.delete(ref);
		this.#answered.add(ref);
		this.asked--;
		this.ledger.answered(request, status, response);
		const wrong = fault(request, status, response);
		if (wrong) this.broken(`${wrong}: ${request.event}, ${said}`);
		if (topic !== request.topic) this.broken(`another topic than ${request.topic}: ${said}`);
		this.answered(request, status, response);
		this.#wake();
	}

	#wake() {
		for (const { n, resolve } of this.#room.splice(0)) {
			if (this.asked <= n || !this.isOpen) resolve();
			else this.#room.push({ n, resolve });
		}
	}

	// Resolves when at most so many requests are under way, or the socket is closed.
	async room(n) {
		if (this.asked <= n || !this.isOpen) return;
		let timer;
		const late = new Promise((resolve) => {
			timer = setTimeout(() => {
				const events = [...this.#asked.values()].flat().map(({ event, topic }) => `${event} on ${topic}`);
				this.broken(`not answered in ${ANSWER_MS} ms: ${events.slice(0, 5).join(', ')}`);
				resolve();
			}, ANSWER_MS);
		});
		const there = new Promise((resolve) => this.#room.push({ n, resolve }));
		await Promise.race([there, late]);
		clearTimeout(timer);
	}

	// A request that must be answered: {ref, topic, event, …}.
	ask(request, frame) {
		if (!this.isOpen) return;
		this.#asked.set(request.ref, [...(this.#asked.get(request.ref) ?? []), request]);
		this.asked++;
		this.ledger.asked(request);
		this.ws.send(frame);
	}

	// Bytes of which nothing is known.
	send(frame, options) {
		if (this.isOpen) this.ws.send(frame, options);
	}

	// Bytes beneath the websocket's frames.
	raw(bytes) {
		if (this.isOpen) this.ws._socket.write(bytes);
	}

	cut() {
		this.ws.terminate();
	}

	close(code) {
		this.ws.close(code);
	}
}
