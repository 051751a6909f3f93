// The worker of interlock-protocol(7), which is in Python and knows nothing but that page: what it
// reports of a run stands in the database, also when its connection is cut under an answer.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { Coordinator, atEnd, db, given, play, test } from '../wire/stage.mjs';

const { WORKER_SECRET_FILE } = process.env;
const file = new URL('worker.py', import.meta.url).pathname;

// Plays one run of that queue; resolves with what the worker printed.
const work = async (url, queue) => {
	const args = [file, '--runs', '1', '--queue', queue, url, WORKER_SECRET_FILE];
	const worker = spawn('/usr/bin/python3', args, { stdio: ['ignore', 'pipe', 'pipe'] });
	let output = '';
	for (const stream of [worker.stdout, worker.stderr])
		stream.setEncoding('utf8').on('data', (text) => (output += text));
	atEnd(() => worker.kill('SIGKILL'));
	const [code] = await once(worker, 'close');
	assert.equal(code, 0, output);
	return output;
};

// Stands before the coordinator, and cuts the first connection on which it answers that; the answer is
// not passed on.
const cutUnder = async (coordinator, answer) => {
	const [host, port] = coordinator.address.split(':');
	let cut = false;
	const proxy = createServer((worker) => {
		const server = connect(Number(port), host);
		const end = () => (server.destroy(), worker.destroy());
		for (const socket of [worker, server]) socket.on('error', end).on('close', end);
		worker.pipe(server);
		server.on('data', (bytes) => {
			if (cut || !bytes.includes(answer)) return worker.write(bytes);
			cut = true;
			end();
		});
	});
	atEnd(() => proxy.close());
	await once(proxy.listen(0, '127.0.0.1'), 'listening');
	return { url: `ws://127.0.0.1:${proxy.address().port}/worker`, wasCut: () => cut };
};

const played = async (id) => {
	const of = `project_id = '${id.project}'`;
	assert.deepEqual(
		await db.query(`SELECT state, worker_name IS NOT NULL FROM runs WHERE ${of}`),
		[['success', 't']],
	);
	assert.deepEqual(
		await db.query(`SELECT j.name, s.exit_reason, d.body FROM steps s
			JOIN snapshot_jobs j USING (project_id, snapshot_id, job_id)
			JOIN dataclips d ON (d.project_id, d.id) = (s.project_id, s.output_dataclip_id)
			WHERE s.${of} ORDER BY s.started_at`),
		[
			['a', 'success', '{"data": {"n": 7}}'],
			['b', 'success', '{"data": {"n": 7}}'],
		],
	);
	assert.deepEqual(
		await db.query(`SELECT r.final_dataclip_id = s.output_dataclip_id FROM runs r
			JOIN steps s USING (project_id) WHERE r.${of} ORDER BY s.started_at`),
		[['f'], ['t']],
	);
	assert.deepEqual(
		await db.query(`SELECT message, level, source FROM log_lines WHERE ${of} ORDER BY id`),
		[
			['played a', 'info', 'JOB'],
			['played b', 'info', 'JOB'],
		],
	);
};

// What was decided; not that a socket ended, or its worker came back.
const outcomes = (id) =>
	db.query(`SELECT event, outcome FROM transitions
		WHERE project_id = '${id.project}' AND outcome <> 'noted' ORDER BY id`);
const replayed = ['step:start', 'replayed'];
const whole = [
	...['claim', 'run:start', 'step:start', 'step:complete'],
	...['step:start', 'step:complete', 'run:complete'],
].map((event) => [event, 'accepted']);

test('a run is claimed, reported and complete', async () => {
	const coordinator = await Coordinator.start('python');
	const id = await given();
	assert.equal(await work(coordinator.url, id.queue), '', 'nothing was refused');
	await played(id);
	assert.deepEqual(await outcomes(id), whole);
	await coordinator.stop();
});

const lost = (event, answer, check) =>
	test(`an answer to ${event} that is lost: it joins again, and asks again`, async () => {
		const name = `python-${event.replace(':', '-')}`;
		const coordinator = await Coordinator.start(name, { claims: { join_timeout: '1s' } });
		const id = await given();
		const { url, wasCut } = await cutUnder(coordinator, answer);
		assert.equal(await work(url, id.queue), '', 'nothing was refused');
		assert.ok(wasCut(), 'the connection was cut');
		await played(id);
		check(await outcomes(id));
		await coordinator.stop();
	});

lost('claim', '"token"', (journal) =>
	assert.deepEqual(
		journal.filter(([event]) => ['claim', 'release'].includes(event)),
		[['claim', 'accepted'], ['release', 'released'], ['claim', 'accepted']],
	),
);
lost('fetch:plan', '"starting_node_id"', (journal) => assert.deepEqual(journal, whole));
lost('step:start', '"step_id"', (journal) =>
	assert.deepEqual(journal, [...whole.slice(0, 3), replayed, ...whole.slice(3)]),
);

await play({ together: true });
