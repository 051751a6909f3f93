// Random numbers that a seed repeats. A stream is named by words: what is decided at one step of one worker
// depends on the seed, the worker and the step, and not on how many numbers others have drawn before.

import { createHash } from 'node:crypto';

export class Random {
	#a;
	#b;
	#c;
	#d = 1;

	constructor(...words) {
		const hash = createHash('sha256').update(words.join(' ')).digest();
		[this.#a, this.#b, this.#c] = [0, 4, 8].map((at) => hash.readUInt32LE(at));
		for (let i = 0; i < 8; i++) this.#next();
	}

	// sfc32
	#next() {
		const t = (this.#a + this.#b + this.#d++) | 0;
		this.#a = this.#b ^ (this.#b >>> 9);
		this.#b = (this.#c + (this.#c << 3)) | 0;
		this.#c = ((this.#c << 21) | (this.#c >>> 11)) + t;
		return (this.#c |= 0) >>> 0;
	}

	// From 0 to n - 1.
	int(n) {
		return Math.floor((this.#next() / 2 ** 32) * n);
	}

	chance(p) {
		return this.#next() / 2 ** 32 < p;
	}

	// One of a list, undefined of an empty one.
	pick(list) {
		return list[this.int(list.length)];
	}

	// The newest are the likeliest.
	recent(list) {
		return list[list.length - 1 - Math.min(this.int(list.length), this.int(list.length), this.int(list.length))];
	}

	// One of {thing: weight}.
	weighted(table) {
		const entries = Object.entries(table);
		let at = this.int(entries.reduce((sum, [, weight]) => sum + weight, 0));
		return entries.find(([, weight]) => (at -= weight) < 0)[0];
	}

	bytes(n) {
		return Buffer.from(Array.from({ length: n }, () => this.int(256)));
	}

	uuid() {
		const hex = this.bytes(16).toString('hex');
		return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
	}
}
