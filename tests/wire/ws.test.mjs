// Websockets from outside, against tests/unit/ws_echo, a server over ws.h alone.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket, test, serve, good, open, ask, stats, refusal, request, raw, eventually, received, run } from './ws_stage.mjs';

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
	assert.match(await raw(server, upgrade('GET', 'tls')), /^HTTP\/1.1 400 /);
	assert.match(await raw(server, 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n'), /^HTTP\/1.1 400 /);
	assert.match(await raw(server, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), /^HTTP\/1.1 505 /);
	assert.equal((await stats(server)).handshakes, before + 1);
});

test('a handshake that is not whole, by HTTP/1.0, or of another version is refused', async (server) => {
	const { handshakes } = await stats(server);
	const head = ({ minor = 1, ...changed }) => {
		const fields = { Host: 'a', Upgrade: 'websocket', Connection: 'Upgrade',
			'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version': 13, ...changed };
		const lines = Object.entries(fields).filter(([, value]) => value !== null)
			.map(([name, value]) => `${name}: ${value}\r\n`);
		return `GET ${good} HTTP/1.${minor}\r\n${lines.join('')}\r\n`;
	};
	for (const wrong of [{ Connection: null }, { Connection: 'close' }, { 'Sec-WebSocket-Key': null },
		{ 'Sec-WebSocket-Key': 'short' }, { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ=a' },
		{ minor: 0 }, { 'Content-Length': 1 }])
		assert.match(await raw(server, head(wrong)), /^HTTP\/1.1 400 /, JSON.stringify(wrong));
	for (const version of [8, 12, 14, null])
		assert.match(await raw(server, head({ 'Sec-WebSocket-Version': version })),
			/^HTTP\/1.1 426 Upgrade Required\r\n.*Sec-WebSocket-Version: 13\r\n/s);
	assert.equal((await stats(server)).handshakes, handshakes + 1);
	assert.match(await raw(server, head({ Connection: 'keep-alive, upgrade' }), '\r\n\r\n'), /^HTTP\/1.1 101 /);
});

test('subprotocols: phoenix is agreed to, others are refused', async (server) => {
	const ws = await open(server, good, { protocols: ['other', 'phoenix'] });
	assert.equal(ws.protocol, 'phoenix');
	assert.equal(await ask(ws, 'hello'), 'hello');
	ws.terminate();
	const text = await raw(server,
		`GET ${good} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n`
		+ 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: other, phoenixes\r\n'
		+ 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n');
	assert.match(text, /^HTTP\/1.1 400 /);
});

test('a frame in the same packet as the handshake is not lost', async (server) => {
	const text = await raw(server,
		`GET ${good} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n`
		+ 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'
		+ '\x81\x82\0\0\0\0hi', '\x81\x02hi');
	assert.match(text, /^HTTP\/1.1 101 .*\r\n\r\n\x81\x02hi$/s);
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

test('max_peers: one more is answered 503, and accepted when another has left', async () => {
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
	assert.equal(await ask(ws, `head${'x'.repeat(9993)}tail`), 'cut 4096 head 5905 tail');
	const [, head, , rest] = (await ask(ws, `head${'x'.repeat(5_000_000)}tail`)).split(' ');
	assert.ok(head === '4096' && rest >= 16384 && rest <= 32768, `${head}, ${rest}`);
	ws.send('head', { fin: false });
	ws.send('y'.repeat(20_000), { fin: false });
	for (let i = 0; i < 20_000; i += 100) ws.send('y'.repeat(100), { fin: false });
	ws.send('tail', { fin: true });
	assert.match(await ws.next(), /^cut 4096 head \d{5} tail$/);
	assert.equal(await ask(ws, 'small'), 'small');
	ws.terminate();
	await server.stop();
	const tiny = await serve(['max_message=10']);
	const other = await open(tiny);
	assert.equal(await ask(other, 'head123'), 'head123');
	assert.equal(await ask(other, 'head1234567'), 'cut 11 head 0 ');
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
	again.send('!hold');
	assert.equal(await again.ended, 1001);
});

test('an abrupt end, from the callback and from outside', async (server) => {
	for (const command of ['!abort', '!later !abort']) {
		const ws = await open(server);
		const start = Date.now();
		ws.send(command);
		assert.equal(await ws.ended, 1006);
		assert.ok(Date.now() - start < 20_000);
	}
});

test('a client that does not answer the close is dropped', async (server) => {
	const ws = await open(server);
	ws._receiver.removeAllListeners('conclude');
	const start = Date.now();
	ws.send('!close 1012');
	await once(ws._socket, 'end');
	assert.ok(Date.now() - start < 25_000);
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
	const first = await stats(server);
	ws._socket.pause();
	ws.send('!send 1 12000000');
	await received(server, first, 1);
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
	const before = await stats(server);
	ws._socket.pause();
	ws.send('!send 40 1000000');
	await received(server, before, 1);
	ws._socket.resume();
	assert.equal(await ws.ended, 1013);
	assert.ok(ws.got.length < 30);
});

test('one message beyond the hard limit is no reason', async () => {
	const server = await serve(['hard=1000000']);
	const ws = await open(server);
	const before = await stats(server);
	ws._socket.pause();
	ws.send('!send 1 30000000');
	ws.send('!send 5 1000');
	await received(server, before, 1);
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
	const server = await serve(['silence=4']);
	const dead = await open(server, good, { autoPong: false });
	const alive = await open(server);
	const chatty = await open(server, good, { autoPong: false });
	const held = await open(server, good, { autoPong: false });
	let pings = 0;
	alive.on('ping', () => pings++);
	held.send('!pause 40000');
	const chat = setInterval(() => chatty.send('hello'), 500);
	const start = Date.now();
	assert.equal(await dead.ended, 1006);
	const took = Date.now() - start;
	assert.ok(took > 3900, `${took} ms`);
	await sleep(5000);
	for (const ws of [alive, chatty, held]) assert.equal(ws.readyState, WebSocket.OPEN);
	assert.ok(pings >= 3 && pings <= (took + 5000) / 1600, `${pings} pings`);
	clearInterval(chat);
	await server.stop();
});

test('a connection that sends nothing, or only half of a request, is closed', async (server) => {
	const start = Date.now();
	const [nothing, half] = await Promise.all([
		raw(server, []),
		raw(server, 'GET / HTTP/1.1\r\nHost: a\r\nX-More: ')]);
	assert.equal(nothing + half, '');
	assert.ok(Date.now() - start < 15_000);
});

await run();
