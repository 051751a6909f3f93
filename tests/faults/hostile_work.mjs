// What a worker, or the operator's own data, can do: large messages, secrets, refusals. Sizes are [small, as it was
// tried first].

import { randomUUID } from 'node:crypto';
import { quote } from '../client/db.mjs';
import { claimOne, runComplete, runStart, stepComplete, stepStart } from '../wire/stage.mjs';
import { MiB } from './hostile_stage.mjs';

const size = (small, [few, many]) => (small ? few : many);
const memory = (small) => (small ? { limits: { memory: '32MiB' } } : {});
const limited = (stage, small) => (stage.limit = small ? 32 * MiB : 512 * MiB);

const say = (stage, held, event, payload, ms) => {
	stage.sent += JSON.stringify(payload).length;
	return stage.said(held.worker.ask(held.topic, event, payload, 600_000), ms);
};

const answered = (stage, reply, what) => stage.must(reply.status !== 'nothing', `${what} is answered`);

// Answered, or the socket closed for it.
const acceptable = (stage, held, reply, what) =>
	stage.must(reply.status !== 'nothing' || !held.worker.isOpen, `${what} is answered, or its socket closed`);

// Everything of a project that a reader of its logs can see.
const readable = async (stage, { project }) => {
	const rows = await stage.db.query(`SELECT string_agg(t, ' ') FROM (
		SELECT concat_ws(' ', message, source, level) t FROM log_lines WHERE project_id = ${quote(project)}
		UNION ALL SELECT concat_ws(' ', exit_reason, error_type, error_message) FROM steps WHERE project_id = ${quote(project)}
		UNION ALL SELECT concat_ws(' ', error_type, error_message) FROM runs WHERE project_id = ${quote(project)}
		UNION ALL SELECT message FROM transitions WHERE project_id = ${quote(project)}) x`);
	return rows.map((row) => row.join('|')).join('\n');
};

const hidden = async (stage, held, secrets) => {
	const text = await readable(stage, held.id);
	for (const [name, secret] of Object.entries(secrets))
		stage.must(!text.includes(secret), `${name} is not to be read in logs, errors or the journal`);
};

// A started run whose credential is this.
const withSecret = async (stage, secret) => {
	const held = await stage.held({ secret });
	await held.say('run:start', runStart());
	return held;
};

const log = (held, message, more) => held.say('run:log', { message, level: 'info', ...more });

// Each writer of the coordinator still stores: runs of enough work orders.
const stores = async (stage) => {
	for (let i = 0; i < 6; i++) {
		const held = await stage.held().catch((error) => stage.must(false, `run ${i} is claimed afterwards: ${error.message}`));
		if (!held) return;
		const reply = await stage.said(held.say('run:log', { message: ['after'], level: 'info' }), 30_000);
		stage.must(reply.status === 'ok' && !reply.response.warnings, `a message of run ${i} is stored afterwards`);
		await held.worker.cut();
	}
};

const key = (lines) => ['-----BEGIN PRIVATE KEY-----', ...lines, '-----END PRIVATE KEY-----', ''].join('\n');
const PEM_LINES = ['MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj', 'MzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu'];

export const work = [
	{
		id: 'C1',
		what: 'run:batch_logs of many small lines, for longer than the queue_timeout',
		options: (small) => (small ? { database: { queue_timeout: '2s' }, limits: { memory: '128MiB' } } : {}),
		async play(stage, small) {
			stage.limit = (small ? 128 : 512) * MiB;
			const held = await stage.held();
			const logs = Array(size(small, [150_000, 1_500_000])).fill({ message: 1 });
			acceptable(stage, held, await say(stage, held, 'run:batch_logs', { logs }), 'the batch');
			await stores(stage);
		},
	},
	{
		id: 'C2',
		what: 'run:batch_logs of elements that are no lines',
		options: memory,
		async play(stage, small) {
			limited(stage, small);
			const held = await stage.held();
			const logs = Array(size(small, [3_000_000, 20_000_000])).fill(1);
			const reserved = stage.memory('VmPeak');
			acceptable(stage, held, await say(stage, held, 'run:batch_logs', { logs }), 'the batch');
			// Threads reserve more than they use.
			const grown = stage.left === undefined ? stage.memory('VmPeak') - reserved : 0;
			stage.must(grown < stage.limit + 512 * MiB, `nothing is reserved for each element (${Math.round(grown / MiB)} MiB)`);
		},
	},
	{
		id: 'H1',
		what: 'the join of a run whose credential is large',
		async play(stage, small) {
			const id = await stage.given();
			await stage.store(id, { key: 'k'.repeat(size(small, [900_000, 600_000])) });
			const worker = await stage.a.worker();
			await worker.join('worker:queue', { capacity: 1 });
			const [{ id: run, token }] = await claimOne(worker, { queues: [id.queue] });
			answered(stage, await stage.said(worker.join(`run:${run}`, { token })), 'the join');
			await worker.cut();
		},
	},
	{
		id: 'H3',
		what: 'two uploads that stall, and an honest worker with a large output',
		options: (small) => ({ limits: small ? { memory: '8MiB', max_message: '6MiB' } : { memory: '64MiB', max_message: '40MiB' } }),
		async play(stage, small) {
			stage.limit = (small ? 8 : 64) * MiB;
			const bytes = size(small, [3 * MiB, 30 * MiB]);
			const held = await withSecret(stage, { a: 1 });
			const drips = [];
			for (let i = 0; i < 2; i++) {
				const worker = await stage.a.worker();
				const head = Buffer.alloc(14);
				head.set([0x81, 0xff]);
				head.writeBigUInt64BE(BigInt(bytes), 2);
				const text = Buffer.from(`["1","1","worker:queue","claim",{"a":"${'x'.repeat(bytes * 0.9)}`);
				worker.ws._socket.write(Buffer.concat([head, text]));
				stage.sent += text.length;
				drips.push(setInterval(() => worker.ws._socket?.write('x'), 2000));
				worker.closed.then(() => clearInterval(drips[i]));
			}
			const { job_a } = held.id;
			for (let i = 0; i < 3; i++) {
				const step = randomUUID();
				await stage.said(held.say('step:start', stepStart(step, job_a)));
				const output_dataclip = JSON.stringify({ text: 'y'.repeat(bytes * 0.6) });
				const output = { output_dataclip_id: randomUUID(), output_dataclip };
				const reply = await stage.said(held.say('step:complete', stepComplete(step, job_a, output)), 90_000);
				stage.must(reply.status === 'ok', `output ${i} of the honest worker is stored (${reply.status})`);
				if (reply.status !== 'ok') break;
			}
			drips.forEach(clearInterval);
		},
	},
	{
		id: 'M1',
		what: 'a credential that is changed during the run, and logged',
		async play(stage) {
			const held = await withSecret(stage, { password: 'the-old-one-1234' });
			await stage.store(held.id, { password: 'the-new-one-5678' });
			await held.say('fetch:credential', { id: held.id.credential });
			await log(held, ['the-old-one-1234 and the-new-one-5678']);
			await hidden(stage, held, { 'the old password': 'the-old-one-1234', 'the new password': 'the-new-one-5678' });
		},
	},
	{
		id: 'M2',
		what: 'a private key in forms in which it is printed',
		async play(stage) {
			const held = await withSecret(stage, { key: key(PEM_LINES) });
			const forms = [
				key(PEM_LINES).trim(),
				PEM_LINES[0],
				key(PEM_LINES).replaceAll('\n', '\r\n'),
				key(PEM_LINES).replaceAll('\n', ' '),
				JSON.stringify({ key: key(PEM_LINES) }),
			];
			for (const form of forms) {
				await log(held, [form]);
				await log(held, { text: JSON.stringify({ key: form }) });
				await log(held, [{ text: JSON.stringify(JSON.stringify({ key: form })) }]);
			}
			await hidden(stage, held, { 'a line of the key': PEM_LINES[0], 'another line': PEM_LINES[1] });
		},
	},
	{
		id: 'M3',
		what: 'a secret as error_type, as a reason, as a source',
		async play(stage) {
			const secret = 'correct-horse-battery';
			const held = await withSecret(stage, { password: secret });
			const step = randomUUID();
			await log(held, ['x'], { source: secret });
			await log(held, ['x'], { level: secret });
			await held.say('step:start', stepStart(step, held.id.job_a));
			const reason = { reason: `fail ${secret}`, error_type: `Error ${secret}`, error_message: secret };
			await held.say('step:complete', stepComplete(step, held.id.job_a, reason));
			await held.say('run:complete', runComplete(reason));
			await held.say('run:complete', runComplete({ ...reason, reason: 'fail' }));
			await hidden(stage, held, { 'the password': secret });
		},
	},
	{
		id: 'M4',
		what: 'a text that is nearly a large secret, over and over',
		async play(stage, small) {
			const n = size(small, [50_000, 100_000]);
			const held = await withSecret(stage, { key: `${'a'.repeat(n)}b` });
			answered(stage, await say(stage, held, 'run:log', { message: ['a'.repeat(size(small, [500_000, 900_000]))] }), 'the line');
		},
	},
	{
		id: 'M5',
		what: 'the join of a run whose credential is nested deeply',
		async play(stage, small) {
			const depth = 2000;
			let body = { secret: 'x'.repeat(size(small, [60_000, 600_000])) };
			for (let i = 1; i < depth - 10; i++) body = { a: body };
			const id = await stage.given();
			await stage.store(id, body);
			const worker = await stage.a.worker();
			await worker.join('worker:queue', { capacity: 1 });
			const [{ id: run, token }] = await claimOne(worker, { queues: [id.queue] });
			answered(stage, await stage.said(worker.join(`run:${run}`, { token })), 'the join');
			await worker.cut();
		},
	},
	{
		id: 'M7',
		what: 'ordinary messages that are large: an output, run:start, an array as a log message',
		options: (small) => (small ? { limits: { memory: '128MiB', max_message: '32MiB' } } : {}),
		async play(stage, small) {
			stage.limit = (small ? 128 : 512) * MiB;
			const bytes = size(small, [12 * MiB, 100 * MiB]);
			const held = await stage.held();
			const step = randomUUID();
			answered(stage, await say(stage, held, 'run:start', { ...runStart(), versions: 'x'.repeat(bytes) }), 'run:start');
			await held.say('step:start', stepStart(step, held.id.job_a));
			const output_dataclip = JSON.stringify({ text: 'y'.repeat(bytes) });
			const output = { output_dataclip_id: randomUUID(), output_dataclip };
			answered(stage, await say(stage, held, 'step:complete', stepComplete(step, held.id.job_a, output)), 'step:complete');
			const message = Array(bytes / 4).fill(1);
			answered(stage, await say(stage, held, 'run:log', { message }), 'run:log');
		},
	},
	{
		id: 'M8',
		what: 'messages that are refused, again and again',
		async play(stage, small) {
			const held = await stage.held();
			await held.say('run:start', runStart());
			await held.say('run:complete', runComplete());
			const n = size(small, [600, 5000]);
			const payload = runComplete({ final_state: { x: 'x'.repeat(40_000) } });
			let refused = 0;
			// A worker who is slowed for it is answered all the same.
			for (let i = 0; i < n; i += 20) {
				const asked = Array.from({ length: 20 }, () => say(stage, held, 'run:complete', payload, 120_000));
				for (const { status } of await Promise.all(asked)) refused += status === 'error';
			}
			stage.must(refused === n, `each is refused (${refused} of ${n})`);
			const [[rows, bytes]] = await stage.db.query(`SELECT count(*), coalesce(sum(octet_length(message)), 0)
				FROM transitions WHERE run_id = ${quote(held.id.run)} AND outcome = 'refused'`);
			stage.must(Number(rows) < n / 4, `refusals are counted in few rows (${rows} rows for ${n})`);
			stage.must(Number(bytes) < (n * 40_000) / 10, `few of their messages are kept (${bytes} bytes of ${n * 40_000})`);
		},
	},
];
