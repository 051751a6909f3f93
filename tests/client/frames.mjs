// Each frame of data/worker-frames.jsonl, as the real worker sent it but for its ids, through a
// running daemon, at the moment of a run when that worker sent it. All of them must be answered ok,
// without a warning.
//
//   node frames.mjs [-v]    INTERLOCK_URL=ws://… DATABASE_OWNER_URL=… WORKER_SECRET_FILE=… CREDENTIAL_KEY_FILE=…

import { randomUUID } from 'node:crypto';
import { Database, empty, fixture } from './db.mjs';
import { Session, all, assert, lines, translator } from './recording.mjs';

const STATES = {
	success: 'success',
	fail: 'failed',
	crash: 'crashed',
	kill: 'killed',
	exception: 'exception',
};
const db = new Database(process.env.DATABASE_OWNER_URL);

// What the worker had said before, as [event, payload]s. An end without a timestamp may come before
// the start; a final dataclip is a step's output.
const before = (event, payload, ids) => {
	const start = ['run:start', {}];
	const step = (step_id) => ['step:start', { step_id, job_id: ids.job_a }];
	const done = (step_id, output_dataclip_id) => [
		'step:complete',
		{ step_id, reason: 'success', output_dataclip_id, output_dataclip: '{}' },
	];
	if (event === 'step:start') return [start];
	if (event === 'step:complete' || event === 'run:log')
		return [start, ...(payload.step_id ? [step(payload.step_id)] : [])];
	if (event !== 'run:complete' || !payload.timestamp) return [];
	const clip = payload.final_dataclip_id;
	const id = randomUUID();
	return clip ? [start, step(id), done(id, clip)] : [start];
};

const play = async (recorded) => {
	await empty(db);
	// An id without its text is what a worker sends whose plan says `output_dataclips: false`.
	const { output_dataclip_id: id, output_dataclip: text } = recorded[4];
	const ids = await fixture(db, { save_dataclips: !id || text !== undefined });
	const jobs = Object.fromEntries(['job1', 'a', 'b', 'zzz'].map((id) => [id, ids.job_a]));
	const run = recorded[2].slice('run:'.length);
	const [joinRef, ref, topic, event, payload] = translator({
		[run]: ids.run,
		d: ids.dataclip,
		c: ids.credential,
		...jobs,
	})(recorded);

	const session = await Session.open();
	const prepare = async (frame) => {
		const reply = await session.ask(frame);
		assert(reply.status === 'ok', frame, 'was answered', reply);
		return reply.response;
	};
	if (topic === 'worker:queue' && event !== 'phx_join')
		await prepare([joinRef, joinRef, topic, 'phx_join', { capacity: 1 }]);
	if (topic.startsWith('run:')) {
		await prepare(['q', 'q', 'worker:queue', 'phx_join', { capacity: 1 }]);
		const claim = { demand: 1, queues: [ids.queue] };
		let runs = [];
		// The daemon may not know yet of a run that was inserted a moment ago.
		for (const until = Date.now() + 60_000; !runs.length && Date.now() < until; )
			({ runs } = await prepare(['q', 'claim', 'worker:queue', 'claim', claim]));
		assert(runs[0]?.id === ids.run, 'claimed', runs);
		const { token } = runs[0];
		if (event === 'phx_join') payload.token = token;
		else await prepare([joinRef, joinRef, topic, 'phx_join', { token }]);
		for (const [i, words] of before(event, payload, ids).entries())
			await prepare([joinRef, `before ${i}`, topic, ...words]);
	}

	const reply = await session.ask([joinRef, ref, topic, event, payload]);
	session.cut();
	// What a worker says of its own output comes back as a warning, and nothing else does.
	const warned = Object.values(reply.response?.warnings ?? {}).flat();
	const expected = payload?.output_dataclip_error ? [payload.output_dataclip_error] : [];
	assert(`${reply.status} ${warned}` === `ok ${expected}`, recorded, 'was answered', reply);
	if (event !== 'run:complete') return;
	const [[state]] = await db.query(`SELECT state FROM runs WHERE id = '${ids.run}'`);
	assert(state === STATES[payload.reason], payload.reason, 'made the run', state);
};

await all(
	lines('worker-frames.jsonl'),
	(frame) => `${frame[3]} ${JSON.stringify(frame[4]).slice(0, 60)}`,
	play,
);
