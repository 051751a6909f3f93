// What the tests of ws share: the server tests/unit/ws_echo, clients, and how tests are run.
//
//   BINARY is the argument; WRAP="valgrind …" puts a command in front of it, WS_MODULE=FILE takes
//   `ws` from there, ONLY=TEXT runs the tests with that in their names.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const require = createRequire(new URL('../client/package.json', import.meta.url));
export const WebSocket = require(process.env.WS_MODULE ?? 'ws');
export const binary = process.argv[2] ?? 'build/unit/ws_echo';
const wrap = (process.env.WRAP ?? '').split(' ').filter(Boolean);
export const slow = wrap.length > 0;

const tests = [];
export const test = (name, run) => tests.push({ name, run });
const folder = mkdtempSync(join(tmpdir(), 'ws-'));
export const socketFile = join(folder, 's');

// -- The server -----------------------------------------------------------------------------------

export const serve = async (args = [], addresses = ['127.0.0.1:0'], front = wrap) => {
	const command = [...front, binary, ...args, ...addresses];
	const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
	const exited = once(child, 'exit');
	let out = '';
	child.stdout.on('data', (data) => (out += data));
	while (!out.includes('ready')) {
		if (child.exitCode !== null) throw new Error(`${command.join(' ')} does not start`);
		await sleep(10);
	}
	const bound = out.split('\n').slice(0, addresses.length);
	const stop = async () => {
		child.kill('SIGTERM');
		const [code] = await exited;
		const down = out.split('\n').find((line) => line.startsWith('down'));
		assert.equal(code, 0, `exit status ${code}: ${down}`);
		return down;
	};
	const at = bound.find((address) => address.startsWith('127.')) ?? bound[0];
	const port = Number(at.split(':').at(-1));
	return { bound, at, port, stop, pid: child.pid };
};

// -- Clients --------------------------------------------------------------------------------------

export const good = '/ws?x=1&token=go+od%2B';

export const open = async (server, path = good, options = {}) => {
	const ws = new WebSocket(`ws://${server.at}${path}`, options.protocols ?? [], options);
	ws.on('error', () => {});
	ws.got = [];
	ws.wake = () => {};
	ws.on('message', (data, isBinary) => {
		ws.got.push(isBinary ? data : data.toString());
		ws.wake();
	});
	ws.next = async () => {
		while (ws.got.length === 0) await new Promise((resolve) => (ws.wake = resolve));
		return ws.got.shift();
	};
	ws.ended = new Promise((resolve) => ws.on('close', (code) => resolve(code)));
	await new Promise((resolve, reject) => {
		ws.on('open', resolve);
		ws.on('error', reject);
	});
	return ws;
};

export const ask = (ws, text) => {
	ws.send(text);
	return ws.next();
};

export const stats = async (server) => {
	const ws = await open(server);
	const result = JSON.parse(await ask(ws, '!stats'));
	ws.terminate();
	return result;
};

// Until the server has received N messages since BEFORE; each question for the numbers is one itself.
export const received = async (server, before, n) => {
	for (let asked = 1; (await stats(server)).messages < before.messages + n + asked; asked++) await sleep(10);
};

export const refusal = (server, path, options) =>
	new Promise((resolve, reject) => {
		const ws = new WebSocket(`ws://${server.at}${path}`, options);
		ws.on('open', () => reject(new Error('it was accepted')));
		ws.on('error', () => {});
		ws.on('unexpected-response', async (_, response) => {
			let body = '';
			for await (const chunk of response) body += chunk;
			resolve([response.statusCode, body]);
		});
	});

export const request = async (server, method, path, { headers, body, agent } = {}) => {
	const options = { method, path, headers, agent, host: '127.0.0.1', port: server.port };
	const sent = http.request(options);
	sent.end(body);
	const [response] = await once(sent, 'response');
	let text = '';
	for await (const chunk of response) text += chunk;
	return { status: response.statusCode, headers: response.headers, text };
};

// Bytes in, bytes out, until `until` has come or the other side hangs up.
export const raw = async (server, bytes, until = null, { half = false } = {}) => {
	const socket = net.connect(server.port, '127.0.0.1');
	let text = '';
	socket.on('error', () => {});
	socket.on('data', (data) => (text += data.toString('latin1')));
	const closed = new Promise((resolve) => socket.on('close', resolve));
	for (const part of [bytes].flat()) {
		socket.write(part, 'latin1');
		await sleep(30);
	}
	if (half) socket.end();
	while (until !== null && !text.includes(until) && !socket.destroyed) await sleep(10);
	if (until === null) await closed;
	socket.destroy();
	return text;
};

export const eventually = async (what, check, ms = 30_000) => {
	for (const end = Date.now() + ms; Date.now() < end; await sleep(20))
		if (await check()) return;
	assert.fail(`not within ${ms} ms: ${what}`);
};

// -- The end --------------------------------------------------------------------------------------

export const run = async () => {
	let failed = 0;
	const only = process.env.ONLY;
	const shared = await serve();
	for (const { name, run } of tests) {
		if (only && !name.includes(only)) continue;
		const limit = new AbortController();
		const late = sleep(slow ? 180_000 : 60_000, null, limit).then(
			() => assert.fail('takes too long'), () => {});
		try {
			await Promise.race([run(shared), late]);
			console.log(`ok   ${name}`);
		} catch (error) {
			failed++;
			console.log(`FAIL ${name}\n${error.stack}`);
		}
		limit.abort();
	}
	try {
		console.log(await shared.stop());
	} catch (error) {
		failed++;
		console.log(`FAIL the shared server goes down cleanly\n${error.stack}`);
	}
	rmSync(folder, { recursive: true });
	const ran = tests.filter(({ name }) => !only || name.includes(only)).length;
	console.log(`${Math.max(0, ran - failed)} passed, ${failed} failed`);
	process.exit(failed ? 1 : 0);
};
