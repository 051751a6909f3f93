// What the attackers say: payloads as a worker makes them, as they were recorded, and changed until hardly
// anything is right. Ids come from `ids`: of the run, of other runs, of a project that is none of theirs.

import { readFileSync } from 'node:fs';

const data = new URL('../client/data/worker-frames.jsonl', import.meta.url);
const recorded = new Map(); // event → frames
for (const line of readFileSync(data, 'utf8').trimEnd().split('\n')) {
	const frame = JSON.parse(line);
	recorded.set(frame[3], [...(recorded.get(frame[3]) ?? []), frame]);
}

const REASONS = ['success', 'success', 'fail', 'crash', 'kill', 'exception', 'cancel', 'lost', '', null];
const LEVELS = ['debug', 'info', 'warn', 'error', 'success', 'always', 'nonsense', 7];

const timestamp = (random) => {
	const us = BigInt(Date.now()) * 1000n + BigInt(random.int(1e6));
	if (random.chance(0.9)) return String(us);
	return random.pick([Number(us / 1000n), String(us / 1000n), Number(us), '0', '-1', '9'.repeat(30), 1e300, null, 'now']);
};

const text = (random) => {
	const word = random.pick(['x', 'é', '\u0000', '\ud800', '😀', '"', '\\', "'; DROP", '\n', 'https://u:p@h/']);
	return word.repeat(random.chance(0.003) ? random.int(200_000) : random.int(40));
};

// Any JSON, not too large.
const anything = (random, depth = 0) => {
	const n = random.int(depth > 4 ? 8 : 10);
	const leaves = [null, true, false, random.int(1e9), -0.5, 1e308, text(random), random.uuid()];
	if (n < 8) return leaves[n];
	const parts = Array.from({ length: random.int(5) }, () => anything(random, depth + 1));
	return n === 8 ? parts : Object.fromEntries(parts.map((part, i) => [`k${i}`, part]));
};

const line = (random, ids) => ({
	message: random.chance(0.8) ? [text(random), anything(random)] : anything(random),
	source: random.pick(['R/T', 'JOB', 'RTE', null, text(random)]),
	level: random.pick(LEVELS),
	timestamp: timestamp(random),
	...(random.chance(0.5) && { step_id: ids.step(random) }),
});

const end = (random) => ({
	reason: random.pick(REASONS),
	error_type: random.pick([null, 'JobError', text(random)]),
	error_message: random.pick([null, text(random)]),
	timestamp: timestamp(random),
});

const MAKE = {
	'fetch:plan': () => ({}),
	'fetch:dataclip': (random, ids) => ({ id: ids.clip(random) }),
	'fetch:credential': (random, ids) => ({ id: ids.credential(random) }),
	'run:start': (random) => ({ timestamp: timestamp(random), versions: { worker: '1.25.0' } }),
	'run:log': (random, ids) => line(random, ids),
	'run:batch_logs': (random, ids) => ({
		logs: Array.from({ length: random.int(random.chance(0.02) ? 500 : 6) }, () => line(random, ids)),
	}),
	'step:start': (random, ids) => ({
		step_id: ids.newStep(random),
		job_id: ids.job(random),
		input_dataclip_id: ids.clip(random),
		timestamp: timestamp(random),
	}),
	'step:complete': (random, ids) => ({
		step_id: ids.step(random),
		job_id: ids.job(random),
		...end(random),
		output_dataclip_id: random.chance(0.9) ? random.uuid() : ids.clip(random),
		output_dataclip: random.pick(['{}', JSON.stringify(anything(random)), 'not JSON', undefined]),
		mem: { job: random.int(1e9), system: random.int(1e9) },
		duration: random.int(1e6),
		thread_id: 1,
	}),
	'run:complete': (random, ids) => ({
		...end(random),
		final_dataclip_id: random.chance(0.3) ? ids.clip(random) : undefined,
		final_state: random.chance(0.6) ? anything(random) : undefined,
	}),
};

export const EVENTS = {
	'run:start': 8,
	'step:start': 14,
	'step:complete': 14,
	'run:log': 12,
	'run:batch_logs': 6,
	'fetch:plan': 3,
	'fetch:dataclip': 4,
	'fetch:credential': 4,
	'run:complete': 3,
};

export const make = (random, event, ids) => MAKE[event](random, ids);

// A payload of the real worker, with ids of ours where it had some.
export const replay = (random, event, ids) => {
	const frames = recorded.get(event);
	if (!frames) return {};
	const payload = { ...random.pick(frames)[4] };
	if ('step_id' in payload) payload.step_id = ids.newStep(random);
	if ('job_id' in payload) payload.job_id = ids.job(random);
	if (payload.input_dataclip_id) payload.input_dataclip_id = ids.clip(random);
	if (payload.output_dataclip_id) payload.output_dataclip_id = random.uuid();
	if ('id' in payload) payload.id = ids.clip(random);
	return payload;
};

const deep = (n) => {
	let value = {};
	for (let i = 0; i < n; i++) value = i % 2 ? [value] : { a: value };
	return value;
};

const wrong = (random, ids) =>
	random.pick([
		() => anything(random),
		() => ids.step(random),
		() => ids.clip(random),
		() => random.uuid().toUpperCase(),
		() => deep(random.int(random.chance(0.1) ? 1000 : 70)),
		() => 'x'.repeat(random.int(random.chance(0.05) ? 100_000 : 300)),
		() => Array(random.int(random.chance(0.1) ? 2000 : 20)).fill(1),
		() => '\u0000',
	])();

// Changes one place of a payload, somewhere within it.
export const mutate = (random, value, ids) => {
	if (value === null || typeof value !== 'object' || random.chance(0.1)) return wrong(random, ids);
	const copy = Array.isArray(value) ? [...value] : { ...value };
	const keys = Object.keys(copy);
	if (!keys.length || random.chance(0.1)) {
		if (Array.isArray(copy)) copy.push(wrong(random, ids));
		else copy[random.pick(['id', 'step_id', '__proto__', 'timestamp', 'reason', '', 'x'.repeat(300)])] = wrong(random, ids);
		return copy;
	}
	const key = random.pick(keys);
	if (random.chance(0.2)) {
		if (Array.isArray(copy)) copy.splice(Number(key), 1);
		else delete copy[key];
	} else {
		copy[key] = mutate(random, copy[key], ids);
	}
	return copy;
};

// Changes some bytes of a frame.
export const mangle = (random, frame) => {
	let bytes = Buffer.from(frame);
	for (let i = 0; i <= random.int(4); i++) {
		const at = random.int(bytes.length + 1);
		const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)];
		bytes = random.pick([
			() => Buffer.concat([head, random.bytes(1 + random.int(4)), tail]),
			() => Buffer.concat([head, tail.subarray(1 + random.int(8))]),
			() => Buffer.concat([head, Buffer.from(random.pick(['\\u0000', '\\ud800', '"', ']', '{', ','])), tail]),
			() => head,
			() => Buffer.concat([head, head, tail].map((part) => part.subarray(0, 65536))),
		])();
	}
	return bytes;
};
