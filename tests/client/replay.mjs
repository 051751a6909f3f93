// Plays the worker's side of each recorded session (data/sessions.jsonl) against a running daemon.
// Ids are exchanged for those of a run enqueued for it, reconnects included; every reply must have
// the shape of the recorded one. Where the recording's server misbehaved on purpose (the scenario
// is called after it), ours must answer ok. The worker's run:log frames were not recorded, only
// their replies: a line is made up for each.
//
//   node replay.mjs [-v]    INTERLOCK_URL=ws://… DATABASE_OWNER_URL=… WORKER_SECRET_FILE=… CREDENTIAL_KEY_FILE=…

import { Database, empty, fixture } from './db.mjs';
import { decodeBinary, timestamp } from './lib.mjs';
import { Session, all, assert, lines, translator } from './recording.mjs';

const db = new Database(process.env.DATABASE_OWNER_URL);

// Every key that the recording has, with a value of the same kind; lists are as long.
const alike = (want, got) => {
	if (want === null) return true;
	if (typeof want !== 'object') return typeof want === typeof got;
	if (typeof got !== 'object' || got === null) return false;
	if (Array.isArray(want) && want.length !== got.length) return false;
	return Object.keys(want).every((key) => alike(want[key], got[key]));
};

// A claim that found nothing where the recorded one found a run.
const misses = (event, recorded, reply) =>
	event === 'claim' && recorded?.response?.runs?.length > 0 && reply.response?.runs?.length === 0;

// An event in the words that the scenarios use for it.
const called = ([, , topic, event]) =>
	event === 'phx_join' && topic.startsWith('run:') ? 'runjoin' : event;

const prepare = async (scenario) => {
	await empty(db);
	const ids = await fixture(db, { input: '{"data":{"n":7,"u":"é"}}' });
	if (scenario === 'nodataclip')
		await db.query(`UPDATE runs SET dataclip_id = NULL WHERE id = '${ids.run}'`);
	const translate = translator({
		'11111111-1111-4111-8111-111111111111': ids.run,
		'22222222-2222-4222-8222-222222222222': ids.project,
		'33333333-3333-4333-8333-333333333333': ids.dataclip,
		'44444444-4444-4444-8444-444444444444': ids.credential,
		trg: ids.trigger,
		jobA: ids.job_a,
		jobB: ids.job_b,
	});
	return { ids, translate };
};

const play = async ([scenario, records]) => {
	const { ids, translate } = await prepare(scenario);
	const sent = new Map(); // ref → request
	const count = {}; // event → how often it was sent
	let left = false; // the run, before its start: it waits again
	let session;
	let token;

	const send = (frame) => {
		const [, ref, topic, event, payload] = frame;
		if (event === 'phx_join' && topic.startsWith('run:')) payload.token = token;
		left ||= event === 'phx_leave' && topic.startsWith('run:') && !count['run:start'];
		sent.set(ref, frame);
		count[event] = (count[event] ?? 0) + 1;
		session.send(frame);
	};

	const check = async (ref, recorded) => {
		const request = sent.get(ref);
		const event = called(request);
		let reply = await session.reply(ref);
		// Of a run that was inserted a moment ago the daemon may not know yet.
		for (const end = Date.now() + 60_000; misses(event, recorded, reply) && Date.now() < end; ) {
			session.send(request);
			reply = await session.reply(ref);
		}
		const faulty = !recorded || scenario.startsWith(`${event}:`) || (left && event === 'claim');
		const status = faulty ? 'ok' : recorded.status;
		assert(reply.status === status, 'expected', status, 'to', request, 'got', reply);
		assert(!reply.response?.warnings, 'a warning to', request, reply);
		if (!faulty)
			assert(
				alike(recorded.response, reply.response),
				'expected',
				recorded,
				'to',
				request,
				'got',
				reply,
			);
		if (!faulty && recorded.body)
			assert(recorded.body === reply.body, 'expected', recorded.body, 'got', reply.body);
		if (event === 'claim' && reply.response.runs.length) {
			const [run] = reply.response.runs;
			assert(run.id === ids.run, 'claimed another run:', run.id);
			token = run.token;
		}
	};

	const logLine = (joinRef, ref, topic) =>
		send([
			joinRef,
			ref,
			topic,
			'run:log',
			{
				run_id: ids.run,
				message: ['in A', { ref }],
				source: 'JOB',
				level: 'info',
				timestamp: timestamp(),
			},
		]);

	for (const { from, get, text, binary_hex, event, close, server_close } of records) {
		if (get) session = await Session.open();
		else if (from === 'worker') send(translate(JSON.parse(text)));
		else if (binary_hex) {
			const { strings, body } = decodeBinary(Buffer.from(binary_hex, 'hex'));
			await check(strings[1], { status: strings[3], body: body.toString() });
		} else if (text) {
			const [joinRef, ref, topic, kind, payload] = translate(JSON.parse(text));
			if (kind === 'phx_close') await session.closed(joinRef);
			if (kind !== 'phx_reply') continue;
			if (!sent.has(ref)) logLine(joinRef, ref, topic);
			await check(ref, payload);
		} else if (event === 'NO-REPLY') await check([...sent.keys()].at(-1));
		else if (event === 'server-terminate' || server_close || close) session.cut();
	}
	session.cut();

	// Before the next session begins it waits again, or was claimed once more.
	if (left) await db.until(`SELECT claim_epoch FROM runs WHERE id = '${ids.run}'`, ([[n]]) => n > 1);
	const state = count['run:complete'] ? 'success' : count['run:start'] ? 'started' : 'claimed';
	const want = [state, count['step:complete'] ?? 0, count['run:log'] ?? 0].join('|');
	const [row] = await db.query(`
		SELECT state,
			(SELECT count(*) FROM steps
				WHERE run_id = r.id AND exit_reason = 'success'),
			(SELECT count(*) FROM log_lines WHERE run_id = r.id)
		FROM runs r WHERE id = '${ids.run}'`);
	if (left) row[0] = state;
	assert(
		row.join('|') === want,
		'expected state, steps, log lines',
		want,
		'in the database, got',
		row.join('|'),
	);
};

const sessions = new Map();
for (const { scenario, ...record } of lines('sessions.jsonl')) {
	if (!sessions.has(scenario)) sessions.set(scenario, []);
	sessions.get(scenario).push(record);
}
await all([...sessions], ([scenario]) => scenario, play);
