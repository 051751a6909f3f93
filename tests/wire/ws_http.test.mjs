// Plain requests, addresses and many sockets, against tests/unit/ws_echo.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { WebSocket, binary, slow, test, socketFile, serve, good, open, ask, stats, request, raw, eventually, run } from './ws_stage.mjs';

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
	const none = await request(server, 'GET', '/none?a=%20b/../%C3%A9');
	assert.deepEqual([none.status, none.text], [404, '/none']);
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

test('a body that is too large is answered 413', async (server) => {
	const large = await request(server, 'POST', '/echo', { body: 'x'.repeat(1_048_577) });
	assert.deepEqual([large.status, large.text], [413, 'too large']);
	const fits = await request(server, 'POST', '/echo', { body: 'x'.repeat(1_048_576) });
	assert.equal(fits.text.length, 1_048_576);
});

test('one request a connection: what follows in the same packet is never read', async (server) => {
	const post = 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc';
	for (const first of ['GET /late?ms=200 HTTP/1.1\r\nHost: a\r\n\r\n', post,
		'POST /late?ms=200 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n'])
		for (const rest of [post, 'GET /end HTTP/1.1\r\nHost: a\r\n\r\n'])
			for (const bytes of [first + rest, [first, rest]]) {
				const text = await raw(server, bytes);
				assert.match(text, /^HTTP\/1.1 200 OK\r\n.*Connection: close\r\n\r\n(late|abc)$/s);
			}
	assert.equal((await request(server, 'GET', '/about')).status, 200);
});

test('a body without a length, or in chunks, is refused with 411', async (server) => {
	for (const header of ['X-Test: y', 'Transfer-Encoding: chunked'])
		assert.match(await raw(server,
			`POST /echo HTTP/1.1\r\nHost: a\r\n${header}\r\n\r\n3\r\nabc\r\n0\r\n\r\n`),
		/^HTTP\/1.1 411 Length Required\r\n/, header);
});

// Whatever is asked: one answer of ours, in plain text, and the connection is closed.
test('a head that can be read in two ways, or in none, is refused', async (server) => {
	const get = (target, more = '') => `GET ${target} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;
	const heads = {
		400: [...['/worker/../metrics', '/./about', '/i/%2e%2e/metrics', '//about', '/about//x', '/about%00',
			'/%61bout', '/\\about', '/about#x', 'relative', 'http://a/about', '*', '/?a=%zz', '/?a=%00', '']
			.map((target) => get(target)),
		...['Content-Length: -1', 'Content-Length: 5, 6', 'Content-Length: 5\r\nContent-Length: 5',
			'Content-Length: 3\r\nTransfer-Encoding: chunked', 'Content-Length: 99999999999999999999',
			'Host: b', 'X-Test: a\r\n b', 'X-Test : a', 'X-Test: \0', ': a', 'X-Test', 'X-Test: a\nb']
			.map((field) => get('/about', `${field}\r\n`)),
		'GET /about HTTP/1.1\r\n\r\n', 'GET /about\r\n\r\n', 'GET / HTTP/1.1\r\nPOST /echo\r\n\r\n', '\r\n\r\n'],
		404: ['BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n', get('/about/'), 'GET /none HTTP/1.0\r\n\r\n'],
		417: [get('/about', 'Expect: 200-x\r\n')],
		431: [get(`/${'a'.repeat(20_000)}`), get('/about', `X-Test: ${'a'.repeat(20_000)}\r\n`),
			get('/about', 'X-Test: a\r\n'.repeat(100))],
		505: ['GET /about HTTP/2.0\r\nHost: a\r\n\r\n', 'GET /about HTTP/1.2\r\nHost: a\r\n\r\n'],
	};
	for (const [status, texts] of Object.entries(heads))
		await Promise.all(texts.map(async (text) => {
			const answer = await raw(server, text);
			assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `), JSON.stringify(text.slice(0, 200)));
			assert.match(answer, /\r\nContent-Type: text\/plain\r\n.*\r\nConnection: close\r\n\r\n[^<\r\n]*$/s);
		}));
	assert.equal((await request(server, 'GET', '/about')).status, 200);
});

test('a request is refused by its head, before its body comes', async (server) => {
	const head = (path, length) => `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`;
	assert.match(await raw(server, head('/refused', 1000)), /^HTTP\/1.1 404 .*refused by its head$/s);
	assert.match(await raw(server, head('/echo', 1_048_577)), /^HTTP\/1.1 413 .*too large$/s);
	const all = await request(server, 'POST', '/refused', { body: 'x'.repeat(1_000_000) });
	assert.deepEqual([all.status, all.text], [404, 'refused by its head']);
});

test('a body, and whoever reads an answer, has to make progress', async () => {
	const server = await serve(['stall=3']);
	const begun = 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc';
	// Slow, but not too slow.
	const unhurried = async () => {
		const socket = net.connect(server.port, '127.0.0.1');
		let text = '';
		socket.on('data', (data) => (text += data));
		const closed = once(socket, 'close');
		socket.write('POST /about HTTP/1.1\r\nHost: a\r\nContent-Length: 800000\r\n\r\n');
		for (let i = 0; i < 20; i++) {
			socket.write('x'.repeat(40_000));
			await sleep(400);
		}
		await closed;
		return text;
	};
	const [stalled, reader, enough] = await Promise.all([
		raw(server, begun),
		new Promise((resolve) => {
			const socket = net.connect(server.port, '127.0.0.1');
			let n = 0;
			socket.on('data', (data) => (n += data.length)).on('error', () => {}).on('close', () => resolve(n));
			socket.write('GET /big?size=50000000 HTTP/1.1\r\nHost: a\r\n\r\n');
			socket.pause();
			setTimeout(() => socket.resume(), 9000);
		}),
		unhurried()]);
	assert.match(stalled, /^HTTP\/1.1 408 Request Timeout\r\n/);
	assert.ok(reader < 50_000_000, `${reader} bytes were read`);
	assert.match(enough, /^HTTP\/1.1 200 .* 800000$/s);
	await server.stop();
});

test('max_http_connections: who sends no request makes room, the oldest first', async () => {
	const server = await serve(['max_http_connections=4']);
	const closed = [];
	const silent = Array.from({ length: 4 }, (_, i) => net.connect(server.port, '127.0.0.1')
		.on('error', () => {}).on('close', () => closed.push(i)));
	await Promise.all(silent.map((socket) => once(socket, 'connect')));
	for (let i = 0; i < 2; i++) {
		const ws = await open(server);
		assert.equal(await ask(ws, 'hello'), 'hello');
		ws.terminate();
	}
	await eventually('the oldest is gone', () => closed.length > 0);
	assert.equal(closed[0], 0);
	// Those that wait for their answers do not.
	const late = await Promise.all(Array.from({ length: 3 }, () => request(server, 'GET', '/late?ms=1500')));
	assert.deepEqual(late.map(({ text }) => text), ['late', 'late', 'late']);
	for (const socket of silent) socket.destroy();
	await server.stop();
});

test('Expect: 100-continue', async (server) => {
	const text = await raw(server, [
		'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n',
		'abc'], 'abc');
	assert.match(text, /^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK\r\n.*abc$/s);
});

test('nonsense is refused or hung up on', async (server) => {
	for (const text of ['BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n', '\x16\x03\x01\x02\x00',
		'GET relative HTTP/1.1\r\nHost: a\r\n\r\n', 'GET /%zz HTTP/1.1\r\n\r\n',
		'GET / HTTP/1.1\r\nPOST /echo\r\n\r\n', `GET /${'a'.repeat(20_000)} HTTP/1.1\r\n\r\n`])
		assert.doesNotMatch(await raw(server, text, null, { half: true }), /^HTTP\/1.1 200/);
	assert.equal((await request(server, 'GET', '/about')).status, 200);
});

test('an answer of 8 MB', async (server) => {
	assert.equal((await request(server, 'GET', '/big?size=8000000')).text.length, 8_000_000);
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
		const fields = readFileSync(`/proc/${server.pid}/stat`, 'utf8').split(') ')[1].split(' ');
		return Number(fields[11]) + Number(fields[12]);
	};
	const waiting = raw(server, ['GET /late?ms=2000 HTTP/1.1\r\nHost: a\r\n\r\n',
		'GET /end HTTP/1.1\r\nHost: a\r\n\r\n']);
	await sleep(300);
	const before = await ticks();
	await sleep(1000);
	assert.ok((await ticks()) - before < (slow ? 50 : 20));
	assert.match(await waiting, /late$/);
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
	const server = await serve([], ['127.0.0.1:0'], ['prlimit', '--nofile=40']);
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
	assert.equal(await stopped, 'down 0 opens 20 closes 20 gone 1');
	for (const socket of [waiting, silent]) socket.destroy();
	for (const ws of sockets) ws.terminate();
});

await run();
