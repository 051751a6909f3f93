#!/usr/bin/env -S node --experimental-vm-modules --no-warnings
// A worker of our own: it speaks the whole protocol through the official phoenix client and executes
// jobs with @openfn/runtime, in this process. It behaves as the real one where that matters to a
// coordinator: the events of one run go strictly one after another, nothing is ever sent twice, a
// failed event is only noted, and after a reconnect the channels are joined again with the old tokens.
// It has no adaptors and no sandbox of its own: jobs are ES modules of plain JavaScript, and a job
// that never yields keeps the whole worker.

import { createPublicKey, verify, randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { parseArgs, types } from 'node:util';
import vm from 'node:vm';
import runtime from '@openfn/runtime';
import { connect, join, push, readSecret, timestamp, workerParams } from './lib.mjs';

const HOUR = 3_600_000;
const SUCCESS = { reason: 'success', error_type: null, error_message: null };
const LEVELS = ['debug', 'info', 'log', 'warn', 'error', 'success', 'always'];

const why = (error, error_type = error.subtype || error.name) => ({
	reason: error.severity ?? 'crash',
	error_type,
	error_message: error.message,
});

// An end before the runtime was started.
const early = (severity, name, message) => Object.assign(new Error(message), { severity, name });

// What a job hands to console.log may be anything; what is sent must be JSON.
const printable = (value) => {
	if (types.isNativeError(value)) return String(value);
	try {
		return JSON.parse(JSON.stringify(value));
	} catch {
		return String(value);
	}
};

// Something that looks like the runtime's logger (and like the console of a job) and hands every
// line to write(level, arguments).
const logger = (write) => {
	const timers = new Map();
	const timer = (name) => {
		const since = timers.get(name);
		if (!timers.delete(name)) timers.set(name, Date.now());
		return since && `${Date.now() - since}ms`;
	};
	const lines = LEVELS.map((level) => [
		level,
		(...args) => write(level === 'log' ? 'info' : level, args),
	]);
	return { ...Object.fromEntries(lines), timer, print() {}, break() {} };
};

// The coordinator's plan as the runtime's: edges become the `next` of their source.
const convert = (plan, credentials) => {
	const next = (id) =>
		Object.fromEntries(
			plan.edges
				.filter((edge) => [edge.source_job_id, edge.source_trigger_id].includes(id))
				.map((edge) => [
					edge.target_job_id,
					{ condition: edge.condition, disabled: !edge.enabled },
				]),
		);
	const jobs = plan.jobs.map((job) => ({
		id: job.id,
		name: job.name,
		expression: job.body,
		configuration: credentials[job.credential_id],
		next: next(job.id),
	}));
	const triggers = plan.triggers.map(({ id }) => ({ id, next: next(id) }));
	return {
		id: plan.id,
		workflow: { name: plan.name, steps: [...triggers, ...jobs] },
		options: { start: plan.starting_node_id, timeout: plan.options.run_timeout_ms },
	};
};

// Executes the run of a joined channel from fetch:plan to run:complete; resolves with its reason.
const execute = async (channel, id, note) => {
	// The chain is what keeps one event behind the reply to the one before it.
	let chain = Promise.resolve();
	const send = (event, payload = {}) =>
		(chain = chain.then(async () => {
			const reply = await push(channel, event, payload);
			note(`run ${id} ${event} ${reply.status}`);
			return reply;
		}));
	const fetch = async (event, payload, error_type, what) => {
		const { status, response } = await push(channel, event, payload);
		note(`run ${id} ${event} ${status}`);
		if (status === 'ok') return response;
		throw early(
			'exception',
			error_type,
			`Failed to load ${what}: [${event}] ${JSON.stringify(response)}`,
		);
	};

	let step = null; // the one that is open; jobs of a run are executed in series
	const outputs = {}; // job → ids of the dataclips that wait for it, in order
	const leaves = []; // {reason, dataclip} of every step that nothing followed

	const log = (source) =>
		logger((level, args) => {
			const line = {
				run_id: id,
				message: args.map(printable),
				source,
				level,
				timestamp: timestamp(),
			};
			send('run:log', step ? { ...line, step_id: step.step_id } : line);
		});

	const plan = (await send('fetch:plan')).response;
	const {
		output_dataclips = true,
		payload_limit_mb = 10,
		run_memory_limit_mb = 500,
	} = plan.options;

	const start = (job_id) => {
		const input_dataclip_id = job_id in outputs ? outputs[job_id].shift() : plan.dataclip_id;
		step = { step_id: randomUUID(), job_id };
		return send('step:start', { ...step, timestamp: timestamp(), input_dataclip_id });
	};

	const output = (state) => {
		const text = JSON.stringify(state ?? {});
		if (Buffer.byteLength(text) > payload_limit_mb << 20)
			return { output_dataclip_error: 'DATACLIP_TOO_LARGE' };
		return {
			output_dataclip_id: randomUUID(),
			output_dataclip: output_dataclips ? text : undefined,
		};
	};

	const complete = ({ state, next, mem, duration }, reason, at) => {
		const result = output(state);
		for (const job of next) (outputs[job] ??= []).push(result.output_dataclip_id);
		if (!next.length) leaves.push({ reason, dataclip: result.output_dataclip_id });
		const webhook_response = state?.webhookResponse;
		const measured = at && { mem, duration, thread_id: 1, timestamp: at, webhook_response };
		const closed = step;
		step = null;
		return send('step:complete', { ...closed, ...measured, ...result, ...reason });
	};

	const notify = (event, payload) => {
		if (event === 'job-start') return start(payload.jobId);
		if (event === 'job-complete') return complete(payload, SUCCESS, timestamp());
		if (event === 'job-error') return complete(payload, why(payload.error), timestamp());
	};

	const load = async () => {
		const body =
			plan.dataclip_id &&
			(await fetch(
				'fetch:dataclip',
				{ id: plan.dataclip_id },
				'DataClipError',
				`dataclip ${plan.dataclip_id}`,
			));
		const input = body && JSON.parse(Buffer.from(body).toString());
		const ids = [...new Set(plan.jobs.map((job) => job.credential_id).filter(Boolean))];
		const bodies = ids.map((id) =>
			fetch('fetch:credential', { id }, 'CredentialLoadError', `credential ${id}`),
		);
		const credentials = Object.fromEntries(
			(await Promise.all(bodies)).map((body, i) => [ids[i], body]),
		);
		for (const { name, body } of plan.jobs) {
			try {
				new vm.SourceTextModule(body, { context: vm.createContext() });
			} catch (error) {
				throw early('crash', 'CompileError', `${name}: ${error.message}`);
			}
		}
		return { input, steps: convert(plan, credentials) };
	};

	const perform = async () => {
		const limits = [
			`Memory limit: ${run_memory_limit_mb}mb`,
			`Timeout: ${plan.options.run_timeout_ms}ms`,
		];
		const line = (text) => ({
			message: [text],
			source: 'RTE',
			level: 'info',
			timestamp: timestamp(),
		});
		send('run:batch_logs', { run_id: id, logs: limits.map(line) });

		const { input, steps } = await load();
		send('run:start', {
			versions: { worker: '1.25.0', node: process.versions.node },
			timestamp: timestamp(),
		});
		const final_state = await runtime(steps, input, {
			logger: log('R/T'),
			jobLogger: log('JOB'),
			stateLimitMb: run_memory_limit_mb / 4,
			callbacks: { notify },
			disableEsmHook: true,
		});
		const failed = leaves.find(({ reason }) => reason.reason === 'fail');
		const final_dataclip_id = leaves.length === 1 ? leaves[0].dataclip : undefined;
		return {
			timestamp: timestamp(),
			final_state,
			...(failed?.reason ?? SUCCESS),
			final_dataclip_id,
		};
	};

	let last;
	try {
		last = await perform();
	} catch (error) {
		if (step) complete({ next: [] }, why(error));
		last = why(error, error.name);
	}
	const { status } = await send('run:complete', last);
	return status === 'ok' ? last.reason : status;
};

// With the public key of the run tokens in its environment (PEM, in base64) the real worker checks each, by its
// own clock, and shuts itself down over an invalid one.
const TOLERANCE = 5; // seconds
const publicKey = process.env.WORKER_LIGHTNING_PUBLIC_KEY;
const isGood = (token) => {
	const [header, claims, signature] = token.split('.');
	const { iss, nbf, exp } = JSON.parse(Buffer.from(claims, 'base64url'));
	const key = createPublicKey(Buffer.from(publicKey, 'base64'));
	const { alg } = JSON.parse(Buffer.from(header, 'base64url'));
	const holds = verify(
		alg === 'EdDSA' ? null : 'sha256',
		`${header}.${claims}`,
		{ key, dsaEncoding: 'ieee-p1363' },
		Buffer.from(signature, 'base64url'),
	);
	const now = Date.now() / 1000;
	const inTime = now > nbf - TOLERANCE && now < exp + TOLERANCE;
	return inTime && iss === 'Lightning' && holds;
};

// Works until `runs` runs are finished (or SIGTERM); resolves with their [id, reason].
export const work = ({ url, secret, capacity = 5, runs = Infinity, note = () => {} }) =>
	new Promise(async (resolve) => {
		const socket = await connect(url, workerParams(secret));
		const finished = [];
		let queue = null; // the channel that was joined last
		let loops = 0; // begun: the last one counts
		let claimed = 0;
		let rung = false; // since the last claim: there is work, or a slot
		let wake = () => {};

		const ring = () => {
			rung = true;
			wake();
		};

		const end = () => {
			if (finished.length < runs) return ring();
			queue.leave();
			socket.disconnect(() => resolve(finished));
		};

		const take = async ({ id, token }) => {
			note(`run ${id} claimed`);
			if (publicKey && !isGood(token)) {
				console.error(`run ${id}: its token is invalid, shutting down`);
				process.exit(1);
			}
			try {
				const channel = await join(socket, `run:${id}`, { token });
				finished.push([id, await execute(channel, id, note)]);
				channel.leave();
			} catch (error) {
				finished.push([id, error.message]);
			}
			note(`run ${id} finished: ${finished.at(-1)[1]}`);
			end();
		};

		const claim = async (channel) => {
			const mine = ++loops;
			const request = { demand: 1, worker_name: null, queues: ['manual', '*'] };
			for (
				let pause = 1000;
				mine === loops && claimed < runs;
				pause = Math.min(pause * 1.5, 10_000)
			) {
				rung = false;
				while (claimed - finished.length < capacity && claimed < runs) {
					const { response } = await push(channel, 'claim', request, HOUR);
					if (!response?.runs?.length) break;
					claimed += response.runs.length;
					response.runs.forEach(take);
					pause = 1000;
				}
				if (rung) continue;
				await new Promise((resume) => {
					wake = resume;
					setTimeout(resume, pause);
				});
			}
		};

		const enlist = () => {
			const channel = socket.channel('worker:queue', {
				capacity,
				queues: { 'manual>*': capacity },
			});
			channel.on('work-available', ring);
			// phoenix calls this after its own re-joins too: a reconnect joins the new channel,
			// and then the old one in its place.
			channel.join().receive('ok', () => {
				note('joined worker:queue');
				queue = channel;
				claim(channel);
			});
		};

		process.once('SIGTERM', () => {
			runs = claimed;
			end();
		});
		socket.onOpen(enlist);
		enlist();
	});

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	const { values } = parseArgs({
		options: {
			url: { type: 'string', default: 'ws://127.0.0.1:4000/worker' },
			'secret-file': { type: 'string' },
			capacity: { type: 'string', default: '5' },
			once: { type: 'boolean', default: false },
			runs: { type: 'string' },
			verbose: { type: 'boolean', default: false },
		},
	});
	if (!vm.SourceTextModule) throw new Error('start me with node --experimental-vm-modules');
	if (!values['secret-file'])
		throw new Error('--secret-file names the file of the shared worker secret');
	const finished = await work({
		url: values.url,
		secret: readSecret(values['secret-file']),
		capacity: Number(values.capacity),
		runs: values.once ? 1 : Number(values.runs ?? Infinity),
		note: values.verbose ? console.log : undefined,
	});
	process.exit(finished.every(([, reason]) => reason === 'success') ? 0 : 1);
}
