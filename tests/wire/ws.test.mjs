// ws from outside: sockets and requests against tests/unit/ws_echo, a server over ws.h alone.
//
//   node ws.test.mjs BINARY        WRAP="valgrind …" puts a command in front of it,
//                                  WS_MODULE=FILE takes `ws` from there
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const require = createRequire(new URL('../client/package.json', import.meta.url));
const WebSocket = require(process.env.WS_MODULE ?? 'ws');
const binary = process.argv[2] ?? 'build/tests/ws_echo';
const wrap = (process.env.WRAP ?? '').split(' ').filter(Boolean);
const slow = wrap.length > 0;

const tests = [];
const test = (name, run) => tests.push({ name, run });
const folder = mkdtempSync(join(tmpdir(), 'ws-'));
const socketFile = join(folder, 's');

// -- The server -----------------------------------------------------------------------------------

const serve = async (args = [], addresses = ['127.0.0.1:0']) => {
	const command = [...wrap, binary, ...args, ...addresses];
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

const good = '/ws?x=1&token=go+od%2B';

const open = async (server, path = good, options = {}) => {
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

const ask = (ws, text) => {
	ws.send(text);
	return ws.next();
};

const stats = async (server) => {
	const ws = await open(server);
	const result = JSON.parse(await ask(ws, '!stats'));
	ws.terminate();
	return result;
};

const refusal = (server, path, options) =>
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

const request = async (server, method, path, { headers, body, agent } = {}) => {
	const options = { method, path, headers, agent, host: '127.0.0.1', port: server.port };
	const sent = http.request(options);
	sent.end(body);
	const [response] = await once(sent, 'response');
	let text = '';
	for await (const chunk of response) text += chunk;
	return { status: response.statusCode, headers: response.headers, text };
};

// Bytes in, bytes out, until `until` has come or the other side hangs up.
const raw = async (server, bytes, until = null, { half = false } = {}) => {
	const socket = net.connect(server.port, '127.0.0.1');
	let text = '';
	socket.on('error', () => {});
	socket.on('data', (data) => (text += data.toString('latin1')));
	const closed = new Promise((resolve) => socket.on('close', resolve));
	for (const part of [bytes].flat()) {
		socket.write(part);
		await sleep(30);
	}
	if (half) socket.end();
	while (until !== null && !text.includes(until) && !socket.destroyed) await sleep(10);
	if (until === null) await closed;
	socket.destroy();
	return text;
};

const eventually = async (what, check, ms = 5000) => {
	for (const end = Date.now() + ms; Date.now() < end; await sleep(20))
		if (await check()) return;
	assert.fail(`not within ${ms} ms: ${what}`);
};

// -- The handshake --------------------------------------------------------------------------------

test('a handshake is refused with its status and sentence', async (server) => {
	assert.deepEqual(await refusal(server, '/ws'), [401, 'no token']);
	assert.deepEqual(await refusal(server, '/ws?token=bad'), [401, 'bad token']);
	assert.deepEqual(await refusal(server, '/ws?token=busy'), [503, 'the database is away']);
	assert.deepEqual(await refusal(server, '/elsewhere?token=x'), [404, 'not here']);
});

test('a refusal says that the connection ends, and ends it', async (server) => {
	const text = await raw(server,
		'GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
		+ 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n');
	assert.match(text, /^HTTP\/1.1 401 Unauthorized\r\n/);
	assert.match(text, /Connection: close\r\n\r\nno token$/);
});

test('an upgrade to anything else, or by another method, is refused', async (server) => {
	const upgrade = (method, to) =>
		`${method} ${good} HTTP/1.1\r\nHost: a\r\nUpgrade: ${to}\r\nConnection: Upgrade\r\n`
		+ 'HTTP2-Settings: AAMAAABkAAQAAP__\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
		+ 'Sec-WebSocket-Version: 13\r\n\r\n';
	const before = (await stats(server)).handshakes;
	assert.match(await raw(server, upgrade('GET', 'h2c')), /^HTTP\/1.1 400 /);
	assert.match(await raw(server, upgrade('POST', 'websocket')), /^HTTP\/1.1 400 /);
	assert.doesNotMatch(await raw(server, upgrade('GET', 'tls')), /101/);
	assert.equal(await raw(server, 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n'), '');
	assert.doesNotMatch(await raw(server, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), /101/);
	assert.equal((await stats(server)).handshakes, before + 1);
});

test('a handshake that was accepted and then comes to nothing is closed', async (server) => {
	const before = await stats(server);
	const half = `GET ${good} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n`;
	assert.equal(await raw(server, `${half}\r\n`), '');
	assert.equal(await raw(server, `${half}Connection: Upgrade\r\n\r\n`), '');
	await eventually('both are closed', async () => {
		const now = await stats(server);
		return now.handshakes - before.handshakes - (now.opens - before.opens) === 2
			&& now.closes >= before.closes + 2;
	});
});

test('subprotocols: phoenix is agreed to, others are refused', async (server) => {
	const ws = await open(server, good, { protocols: ['other', 'phoenix'] });
	assert.equal(ws.protocol, 'phoenix');
	assert.equal(await ask(ws, 'hello'), 'hello');
	ws.terminate();
	const text = await raw(server,
		`GET ${good} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n`
		+ 'Sec-WebSocket-Protocol: other\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n');
	assert.match(text, /^HTTP\/1.1 400 /);
});

test('no compression is agreed to', async (server) => {
	const ws = await open(server, good, { perMessageDeflate: true });
	assert.equal(ws.extensions, '');
	assert.equal(await ask(ws, 'z'.repeat(300_000)), 'z'.repeat(300_000));
	ws.terminate();
});

test('headers of 12 KiB are read', async (server) => {
	const ws = await open(server, good, { headers: { 'X-Long': 'a'.repeat(12_000) } });
	assert.equal(await ask(ws, 'hello'), 'hello');
	ws.terminate();
});

test('max_peers: one more is told 503, and let in when another has left', async () => {
	const server = await serve(['max_peers=2']);
	const a = await open(server);
	const b = await open(server);
	assert.deepEqual(await refusal(server, good), [503, 'too many connections']);
	a.terminate();
	await eventually('there is room', () => open(server).then(
		(ws) => (ws.terminate(), true), () => false));
	b.terminate();
	await server.stop();
});

// -- Messages -------------------------------------------------------------------------------------

test('text, binary and empty messages are echoed', async (server) => {
	const ws = await open(server);
	assert.equal(await ask(ws, 'grüße'), 'grüße');
	assert.deepEqual(await ask(ws, Buffer.from([0, 1, 255])), Buffer.from([0, 1, 255]));
	assert.equal(await ask(ws, ''), '');
	for (const n of [125, 126, 65535, 65536, 65537, 131_072, 200_000])
		assert.equal((await ask(ws, 'n'.repeat(n))).length, n);
	ws.terminate();
});

test('fragments are put together, with a ping in between', async (server) => {
	const ws = await open(server);
	ws.send('one ', { fin: false });
	ws.ping();
	ws.send('', { fin: false });
	await sleep(50);
	ws.send('two', { fin: true });
	assert.equal(await ws.next(), 'one two');
	for (let i = 0; i < 999; i++) ws.send('0123456789'.repeat(100), { fin: false });
	ws.send('!', { fin: true });
	assert.equal((await ws.next()).length, 999_001);
	ws.terminate();
});

test('3 MB come back as they were', async (server) => {
	const ws = await open(server);
	const data = Buffer.alloc(3_000_000, 'abcdefg');
	assert.equal(Buffer.compare(await ask(ws, data), data), 0);
	ws.terminate();
});

test('what is larger than max_message is cut, and the socket stays', async () => {
	const server = await serve(['max_message=10000']);
	const ws = await open(server);
	assert.equal(await ask(ws, `head${'x'.repeat(9996)}`), `head${'x'.repeat(9996)}`);
	assert.equal(await ask(ws, `head${'x'.repeat(9997)}`), 'cut 4096 head');
	assert.equal(await ask(ws, `head${'x'.repeat(5_000_000)}`), 'cut 4096 head');
	ws.send('head', { fin: false });
	ws.send('y'.repeat(20_000), { fin: false });
	ws.send('y'.repeat(20_000), { fin: true });
	assert.equal(await ws.next(), 'cut 4096 head');
	assert.equal(await ask(ws, 'small'), 'small');
	ws.terminate();
	await server.stop();
	const tiny = await serve(['max_message=10']);
	const other = await open(tiny);
	assert.equal(await ask(other, 'head123'), 'head123');
	assert.equal(await ask(other, 'head1234567'), 'cut 11 head');
	other.terminate();
	await tiny.stop();
});

test('a thousand messages in one go keep their order', async (server) => {
	const ws = await open(server);
	for (let i = 0; i < 1000; i++) ws.send(`m${i}`);
	for (let i = 0; i < 1000; i++) assert.equal(await ws.next(), `m${i}`);
	ws.terminate();
});

test('a paused peer is not read, and loses nothing', async (server) => {
	const ws = await open(server);
	ws.send('!pause 300');
	const start = Date.now();
	for (let i = 0; i < 50; i++) ws.send(`p${i}`);
	await sleep(100);
	for (let i = 50; i < 100; i++) ws.send(`p${i}`);
	for (let i = 0; i < 100; i++) assert.equal(await ws.next(), `p${i}`);
	assert.ok(Date.now() - start >= 250);
	ws.terminate();
});

test('unknown opcodes and stray continuations are closed with 1002', async (server) => {
	for (const first of [0x83, 0x80]) {
		const ws = await open(server);
		ws._socket.write(Buffer.from([first, 0x80, 1, 2, 3, 4]));
		assert.equal(await ws.ended, 1002);
	}
});

// -- Closing --------------------------------------------------------------------------------------

test('each close code arrives, from the callback and from outside', async (server) => {
	for (const code of [1001, 1002, 1007, 1008, 1011, 1012, 1013])
		for (const command of [`!close ${code}`, `!later !close ${code}`]) {
			const ws = await open(server);
			ws.send(command);
			if (command.startsWith('!close'))
				ws.send('not answered any more');
			assert.equal(await ws.ended, code, command);
			assert.deepEqual(ws.got, []);
		}
});

test('a close comes after what was queued, and nothing after it', async (server) => {
	const ws = await open(server);
	ws.send('!send-close 3000000 1012');
	assert.equal(await ws.ended, 1012);
	assert.deepEqual(ws.got.map((text) => text.length), [3_000_000]);
});

test('a paused peer can be closed', async (server) => {
	const ws = await open(server);
	ws.send('!pause 100000');
	await sleep(50);
	ws.send('lies in the way');
	const other = await open(server);
	other.terminate();
	ws.terminate();
	const again = await open(server);
	again.send('!later !close 1001');
	again.send('!pause 10');
	assert.equal(await again.ended, 1001);
});

test('an abrupt end, from the callback and from outside', async (server) => {
	for (const command of ['!abort', '!later !abort']) {
		const ws = await open(server);
		const start = Date.now();
		ws.send(command);
		assert.equal(await ws.ended, 1006);
		assert.ok(Date.now() - start < 2000);
	}
});

test('a client that does not answer the close is dropped', async (server) => {
	const ws = await open(server);
	ws._receiver.removeAllListeners('conclude');
	const start = Date.now();
	ws.send('!close 1012');
	await once(ws._socket, 'end');
	assert.ok(Date.now() - start < 12_000);
	ws.terminate();
});

test('a client that leaves is answered with its own code', async (server) => {
	const ws = await open(server);
	ws.close(4001, 'enough');
	assert.equal(await ws.ended, 4001);
});

// -- Slow readers ---------------------------------------------------------------------------------

test('the soft limit stops the reading until half of it is written', async (server) => {
	const ws = await open(server);
	ws._socket.pause();
	ws.send('!send 1 12000000');
	await sleep(200);
	for (let i = 0; i < 100; i++) ws.send(`q${i}`);
	await sleep(200);
	const before = (await stats(server)).messages;
	await sleep(100);
	assert.equal((await stats(server)).messages, before + 1);
	ws._socket.resume();
	assert.equal((await ws.next()).length, 12_000_000);
	for (let i = 0; i < 100; i++) assert.equal(await ws.next(), `q${i}`);
	ws.terminate();
});

test('beyond the hard limit it is closed with 1013', async (server) => {
	const ws = await open(server);
	ws._socket.pause();
	ws.send('!send 40 1000000');
	await sleep(500);
	ws._socket.resume();
	assert.equal(await ws.ended, 1013);
	assert.ok(ws.got.length < 30);
});

test('one message beyond the hard limit is no reason', async () => {
	const server = await serve(['hard=1000000']);
	const ws = await open(server);
	ws._socket.pause();
	ws.send('!send 1 30000000');
	ws.send('!send 5 1000');
	await sleep(300);
	ws._socket.resume();
	assert.equal((await ws.next()).length, 30_000_000);
	for (let i = 0; i < 5; i++) assert.equal((await ws.next()).length, 1000);
	ws.terminate();
	await server.stop();
});

test('one that reads nothing any more is dropped two seconds after the close', async (server) => {
	const ws = await open(server);
	ws._socket.pause();
	ws.send('!send 40 1000000');
	const before = await stats(server);
	await eventually('it is gone', async () => {
		const now = await stats(server);
		return now.opens - now.closes < before.opens - before.closes;
	}, 8000);
	ws.terminate();
});

// -- Silence --------------------------------------------------------------------------------------

test('silence: pinged at half of it, dropped at it; a pong or a frame is enough', async () => {
	const server = await serve(['silence=2']);
	const dead = await open(server, good, { autoPong: false });
	const alive = await open(server);
	const chatty = await open(server, good, { autoPong: false });
	const held = await open(server, good, { autoPong: false });
	let pings = 0;
	alive.on('ping', () => pings++);
	held.send('!pause 6000');
	const chat = setInterval(() => chatty.send('hello'), 500);
	const start = Date.now();
	assert.equal(await dead.ended, 1006);
	const took = Date.now() - start;
	assert.ok(took > 1900 && took < (slow ? 6000 : 2800), `${took} ms`);
	await sleep(3000);
	for (const ws of [alive, chatty, held]) assert.equal(ws.readyState, WebSocket.OPEN);
	assert.ok(pings >= 3 && pings <= 6, `${pings} pings`);
	clearInterval(chat);
	await server.stop();
});

test('a connection that says nothing, or only half of a request, is closed', async (server) => {
	const start = Date.now();
	const [nothing, half] = await Promise.all([
		raw(server, []),
		raw(server, 'GET / HTTP/1.1\r\nHost: a\r\nX-More: ')]);
	assert.equal(nothing + half, '');
	assert.ok(Date.now() - start < 15_000);
});

// -- HTTP -----------------------------------------------------------------------------------------

test('GET and HEAD', async (server) => {
	const get = await request(server, 'GET', '/about?x', { headers: { 'X-Test': 'a, b' } });
	assert.equal(get.status, 200);
	assert.equal(get.text, 'GET 127.0.0.1 a, b - 0');
	assert.equal(get.headers['content-type'], 'text/plain');
	const head = await request(server, 'HEAD', '/about');
	assert.equal(head.status, 200);
	assert.equal(head.text, '');
	assert.equal(head.headers['content-length'], String('HEAD 127.0.0.1 - - 0'.length));
	const none = await request(server, 'GET', '/a%20b/../%C3%A9');
	assert.deepEqual([none.status, none.text], [404, '/é']);
});

test('a body is handed over whole, and headers with it', async (server) => {
	const body = 'b'.repeat(700_000);
	const post = await request(server, 'POST', '/echo', { body });
	assert.equal(post.status, 200);
	assert.equal(post.text, body);
	assert.equal(post.headers['retry-after'], '1');
	const headers = { 'X-Test': 'yes', 'Content-Type': 'application/json' };
	for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
		const about = await request(server, method, '/about', { body: '12345',
			headers: { ...headers, 'Content-Length': 5 } });
		assert.equal(about.text, `${method} 127.0.0.1 yes application/json 5`);
		const empty = await request(server, method, '/about', { headers: { 'Content-Length': 0 } });
		assert.equal(empty.text, `${method} 127.0.0.1 - - 0`);
	}
});

test('a body that is too large is told so, and the connection stays', async (server) => {
	const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
	const large = await request(server, 'POST', '/echo', { body: 'x'.repeat(1_048_577), agent });
	assert.deepEqual([large.status, large.text], [413, 'too large']);
	const fits = await request(server, 'POST', '/echo', { body: 'x'.repeat(1_048_576), agent });
	assert.equal(fits.text.length, 1_048_576);
	agent.destroy();
});

test('keep-alive: two hundred requests over one connection', async (server) => {
	const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
	const ports = new Set();
	agent.on('free', (socket) => ports.add(socket.localPort));
	for (let i = 0; i < 100; i++) {
		assert.equal((await request(server, 'GET', '/about', { agent })).status, 200);
		const post = await request(server, 'POST', '/echo', { agent, body: `n${i}` });
		assert.equal(post.text, `n${i}`);
	}
	assert.equal(ports.size, 1);
	agent.destroy();
});

test('requests in one packet are answered in order, the first of them late', async (server) => {
	const text = await raw(server,
		'GET /late?ms=200 HTTP/1.1\r\nHost: a\r\n\r\n'
		+ 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc'
		+ 'GET /about HTTP/1.1\r\nHost: a\r\n\r\n'
		+ 'GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
	assert.deepEqual(text.split('HTTP/1.1 ').slice(1).map((part) => part.split('\r\n\r\n')[1]),
		['late', 'abc', 'GET 127.0.0.1 - - 0', '/end']);
	const late = await raw(server, [
		'POST /late?ms=200 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc',
		'GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n']);
	assert.match(late, /late.*\/end$/s);
});

test('Expect: 100-continue', async (server) => {
	const text = await raw(server, [
		'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n',
		'abc'], 'abc');
	assert.match(text, /^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK\r\n.*abc$/s);
});

test('a body without a length, or in chunks, is refused with 411', async (server) => {
	for (const header of ['X: y', 'Transfer-Encoding: chunked', 'Content-Length: -1',
		'Content-Length: 5, 6', 'Content-Length: 5\r\nContent-Length: 6',
		'Content-Length: 3\r\nTransfer-Encoding: chunked', 'Content-Length: 99999999999999999999'])
		assert.match(await raw(server,
			`POST /echo HTTP/1.1\r\nHost: a\r\n${header}\r\n\r\n3\r\nabc\r\n0\r\n\r\n`),
		/^HTTP\/1.1 411 Length Required\r\n/, header);
});

test('nonsense is refused or hung up on', async (server) => {
	for (const text of ['BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n', '\x16\x03\x01\x02\x00',
		'GET relative HTTP/1.1\r\nHost: a\r\n\r\n', 'GET /%zz HTTP/1.1\r\n\r\n',
		'GET / HTTP/1.1\r\nPOST /echo\r\n\r\n', `GET /${'a'.repeat(20_000)} HTTP/1.1\r\n\r\n`])
		assert.doesNotMatch(await raw(server, text, null, { half: true }), /^HTTP\/1.1 200/);
	assert.equal((await request(server, 'GET', '/about')).status, 200);
});

test('an answer of 8 MB, now and as the last one', async (server) => {
	assert.equal((await request(server, 'GET', '/big?size=8000000')).text.length, 8_000_000);
	const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
	for (let i = 0; i < 3; i++) {
		const big = await request(server, 'GET', '/big?size=3000000', { agent });
		assert.equal(big.text.length, 3_000_000);
	}
	agent.destroy();
});

test('a late answer, and one later than the handshake may take', async (server) => {
	const [soon, late] = await Promise.all([
		request(server, 'GET', '/late?ms=100'),
		request(server, 'POST', '/late?ms=12000', { body: 'x' })]);
	assert.deepEqual([soon.text, late.text], ['late', 'late']);
});

test('the client of an unanswered request goes away', async (server) => {
	const before = (await stats(server)).gone;
	for (const head of ['GET /late?ms=20000 HTTP/1.1\r\nHost: a\r\n\r\n',
		'POST /late?ms=20000 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx'])
		await raw(server, head, '');
	await eventually('it is noticed', async () => (await stats(server)).gone === before + 2);
	const unfinished = 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc';
	await raw(server, unfinished, '');
	assert.equal((await stats(server)).gone, before + 2);
});

test('a waiting request costs no processor time', async (server) => {
	const ticks = async () => {
		const { readFileSync } = await import('node:fs');
		const fields = readFileSync(`/proc/${server.pid}/stat`, 'utf8').split(') ')[1].split(' ');
		return Number(fields[11]) + Number(fields[12]);
	};
	const waiting = raw(server, ['GET /late?ms=2000 HTTP/1.1\r\nHost: a\r\n\r\n',
		'GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n']);
	await sleep(300);
	const before = await ticks();
	await sleep(1000);
	assert.ok((await ticks()) - before < (slow ? 50 : 20));
	assert.match(await waiting, /late.*\/end$/s);
});

// -- Addresses ------------------------------------------------------------------------------------

test('several addresses at once: IPv4, IPv6, a unix socket that replaces a stale one', async () => {
	const hasIPv6 = existsSync('/proc/net/if_inet6')
		&& await new Promise((resolve) => {
			const probe = net.createServer().on('error', () => resolve(false));
			probe.listen(0, '::1', () => probe.close(() => resolve(true)));
		});
	const addresses = ['127.0.0.1:0', `unix:${socketFile}`, ...(hasIPv6 ? ['[::1]:0'] : [])];
	const killed = spawn(binary, [`unix:${socketFile}`], { stdio: ['ignore', 'pipe', 'ignore'] });
	await once(killed.stdout, 'data');
	killed.kill('SIGKILL');
	await once(killed, 'exit');
	assert.ok(existsSync(socketFile));
	const server = await serve([], addresses);
	assert.equal(statSync(socketFile).mode & 0o777, 0o660);
	assert.match(server.bound[0], /^127\.0\.0\.1:[1-9]\d*$/);
	assert.equal(server.bound[1], `unix:${socketFile}`);
	await assert.rejects(serve([], [`unix:${socketFile}`]), 'it is in use');
	await assert.rejects(serve([], [server.bound[0]]), 'so is the port');
	for (const address of ['', 'x', ':1', 'host.example:1', '127.0.0.1', '127.0.0.1:x', '[::1:1'])
		await assert.rejects(serve([], [address]), address);
	const ws = new WebSocket(`ws+unix://${socketFile}:${good}`);
	await once(ws, 'open');
	ws.send('by file');
	assert.equal(String((await once(ws, 'message'))[0]), 'by file');
	ws.terminate();
	const about = http.get({ socketPath: socketFile, path: '/about' });
	const [response] = await once(about, 'response');
	assert.equal(String(await response.setEncoding('utf8').toArray()), 'GET unix - - 0');
	if (hasIPv6) {
		assert.match(server.bound[2], /^\[::1\]:[1-9]\d*$/);
		const six = await open({ at: server.bound[2] });
		assert.equal(await ask(six, 'six'), 'six');
		six.terminate();
	}
	await server.stop();
	assert.ok(!existsSync(socketFile));
});

test('out of descriptors: turned away, no busy loop, and back afterwards', async () => {
	if (slow) return;
	const limited = wrap.length;
	wrap.unshift('prlimit', '--nofile=40');
	const server = await serve();
	wrap.splice(0, wrap.length - limited);
	const sockets = [];
	for (let i = 0; i < 60; i++) {
		sockets.push(net.connect(server.port, '127.0.0.1').on('error', () => {}));
		await sleep(5);
	}
	await eventually('some are turned away', () => sockets.some((socket) => socket.destroyed));
	for (const socket of sockets) socket.destroy();
	await eventually('it serves again', () => request(server, 'GET', '/about').then(
		() => true, () => false));
	await server.stop();
});

// -- Many -----------------------------------------------------------------------------------------

test('500 connections open, speak and close', async (server) => {
	const before = await stats(server);
	const all = await Promise.all(Array.from({ length: 500 }, () => open(server)));
	const answers = await Promise.all(all.map((ws, i) => ask(ws, `${i}`)));
	answers.forEach((answer, i) => assert.equal(answer, `${i}`));
	all.forEach((ws, i) => (i % 2 ? ws.terminate() : ws.close()));
	await Promise.all(all.map((ws) => ws.ended));
	await eventually('all are closed',
		async () => (await stats(server)).closes >= before.closes + 500);
});

test('down with peers and requests of every kind open', async () => {
	const server = await serve();
	const sockets = await Promise.all(Array.from({ length: 20 }, () => open(server)));
	sockets[0].send('!pause 60000');
	sockets[1]._socket.pause();
	sockets[1].send('!send 1 10000000');
	sockets[2].send('half', { fin: false });
	sockets[3].send('!later !close 1001');
	const waiting = net.connect(server.port, '127.0.0.1').on('error', () => {});
	waiting.write('GET /late?ms=60000 HTTP/1.1\r\nHost: a\r\n\r\n');
	const silent = net.connect(server.port, '127.0.0.1').on('error', () => {});
	await sleep(300);
	const stopped = server.stop();
	sockets[4].send('too late');
	const down = await stopped;
	assert.match(down, /^down 0 opens 20 closes 20 gone 1$/);
	for (const socket of [waiting, silent]) socket.destroy();
	for (const ws of sockets) ws.terminate();
});

// -------------------------------------------------------------------------------------------------

let failed = 0;
const only = process.env.ONLY;
const shared = await serve();
for (const { name, run } of tests) {
	if (only && !name.includes(only)) continue;
	const limit = new AbortController();
	const late = sleep(slow ? 180_000 : 40_000, null, limit).then(
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
