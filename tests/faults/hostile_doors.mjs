// What any client can do that reaches the port, without a token; and what an operator may type.

import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { readSecret, sign, workerClaims } from '../client/lib.mjs';
import { Coordinator } from '../wire/stage.mjs';
import { HEARTBEAT_MS, MiB } from './hostile_stage.mjs';

const { INTERLOCK_BIN = 'build/interlock', INTERLOCKD_BIN = 'build/interlockd', WORKER_SECRET_FILE } = process.env;
const secret = readSecret(WORKER_SECRET_FILE);

const size = (small, [few, many]) => (small ? few : many);
const token = (claims) => sign(secret, { ...workerClaims(), ...claims });

const handshake = ({ claims = {}, version = 13, http = '1.1' } = {}) =>
	[
		`GET /worker/websocket?token=${token(claims)}&vsn=2.0.0 HTTP/${http}`,
		'Host: a',
		'Connection: Upgrade',
		'Upgrade: websocket',
		`Sec-WebSocket-Version: ${version}`,
		`Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
		'',
		'',
	].join('\r\n');

const until = async (holds, ms = 10_000) => {
	for (const end = Date.now() + ms; !holds() && Date.now() < end; ) await pause(20);
	return holds();
};

// Refused by a status, or the connection is closed without any.
const refusedWith = (stage, { text, status, waited }, statuses, what) => {
	stage.must(statuses.includes(status) || (!text && !waited), `${what} is refused (${status || (waited ? 'silence' : 'closed')})`);
	stage.must(!/<html/i.test(text), `${what} is not answered by the library's page`);
};

export const endpoints = [
	{
		id: 'H1b',
		what: 'a project whose credential is larger than any',
		async play(stage) {
			const id = await stage.given();
			const file = `${stage.a.file}.project.json`;
			const credentials = [{ id: randomUUID(), name: 'large', body: { key: 'k'.repeat(20 * MiB) } }];
			writeFileSync(file, JSON.stringify({ id: id.project, name: 'test', credentials, workflows: [] }));
			stage.sent += 20 * MiB;
			const args = ['-c', stage.a.file, 'import', file];
			const code = await promisify(execFile)(INTERLOCK_BIN, args).then(() => 0, (error) => error.code);
			stage.must(code === 1, `the import is refused (status ${code})`);
		},
	},
	{
		id: 'H2',
		what: 'webhook bodies that stall before their end, for a trigger that is none',
		options: (small) => ({ limits: { memory: small ? '32MiB' : '512MiB' } }),
		async play(stage, small) {
			stage.limit = size(small, [32, 512]) * MiB;
			const bytes = size(small, [2 * MiB, 9 * MiB]);
			const lines = [];
			const body = Buffer.alloc(bytes - 1, ' ');
			for (let i = 0; i < size(small, [120, 300]); i++) {
				const head = `POST /i/${randomUUID()} HTTP/1.1\r\nHost: a\r\nContent-Length: ${bytes}\r\n\r\n`;
				lines.push(await stage.connect(Buffer.concat([Buffer.from(head), body])));
			}
			// Whoever is read is read by now.
			const settled = () => lines.every(({ socket }) => socket.destroyed || socket.writableLength === 0);
			await until(settled, 5000);
			const answered = lines.filter(({ text, socket }) => text() || socket.destroyed).length;
			const held = await stage.a.metric('interlock_buffered_bytes');
			stage.must(answered > lines.length / 2 || held > MiB, `they are answered early, or count (${answered} answered, ${held} bytes)`);
			for (const { socket } of lines) socket.destroy();
		},
	},
	{
		id: 'M6',
		what: 'idle connections without a word, more than there are descriptors',
		under: ['prlimit', '--nofile=200'],
		async play(stage, small) {
			// Whoever is hung up on comes back at once.
			let over = false;
			const lines = Array(size(small, [300, 700])).fill(null);
			const idle = async (i) => {
				for (; !over; await pause(10)) {
					lines[i] = await stage.connect();
					await lines[i].closed;
				}
			};
			lines.forEach((_, i) => idle(i));
			await until(() => lines.every(Boolean));
			let worker = null;
			// By themselves the idle ones would go after 10 s.
			for (const end = Date.now() + HEARTBEAT_MS; !worker && Date.now() < end; ) {
				const opened = stage.a.worker().catch(() => null);
				worker = await Promise.race([opened, pause(end - Date.now(), null)]);
			}
			stage.must(worker, 'a new worker gets in beside them');
			await worker?.cut();
			over = true;
			for (const { socket } of lines) socket.destroy();
		},
	},
	{
		id: 'L1',
		what: 'trusted_proxies = 1.2.3.4/2147483647',
		async play(stage) {
			const other = new Coordinator('hostile-l1', null);
			other.write({ server: { trusted_proxies: '1.2.3.4/2147483647' } });
			const check = promisify(execFile)(INTERLOCKD_BIN, ['-c', other.file, '--check']);
			const error = await check.then(() => null, (each) => each);
			stage.must(error, 'the configuration is refused');
			stage.must(/trusted_proxies/.test(error?.stderr), 'by the name of the option');
		},
	},
	{
		id: 'L2',
		what: 'frames without a mask, version 8, HTTP/1.0',
		async play(stage) {
			const line = await stage.connect(handshake());
			await until(() => / 101 /.test(line.text()));
			stage.must(/ 101 /.test(line.text()), 'a handshake as it should be is taken');
			const frame = '[null,"1","phoenix","heartbeat",{}]';
			line.socket.write(Buffer.concat([Buffer.from([0x81, frame.length]), Buffer.from(frame)]));
			const closed = await Promise.race([line.closed.then(() => true), pause(10_000, false)]);
			stage.must(closed && !/phx_reply/.test(line.text()), 'a frame without a mask closes the socket');
			line.socket.destroy();
			refusedWith(stage, await stage.answer(handshake({ version: 8 })), [400, 426], 'version 8');
			refusedWith(stage, await stage.answer(handshake({ http: '1.0' })), [400, 426, 505], 'an upgrade of HTTP/1.0');
		},
	},
	{
		id: 'L3',
		what: 'paths that are not in their normal form',
		async play(stage) {
			const paths = ['/worker/../metrics', '/i/%2e%2e/metrics', '//metrics', '/./metrics', '/metrics%00'];
			// Normal or not: there is nothing of that name.
			const others = ['/metrics/.', '/%6detrics', '/metrics/'];
			for (const path of [...paths, ...others]) {
				const reply = await stage.answer(`GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
				refusedWith(stage, reply, others.includes(path) ? [400, 404] : [400], path);
				stage.must(!/interlock_/.test(reply.text), `${path} shows no metrics`);
			}
		},
	},
	{
		id: 'L4',
		what: 'requests that the library would answer itself',
		async play(stage) {
			const heads = {
				'an unknown method': 'BREW / HTTP/1.1\r\nHost: a\r\n\r\n',
				'no method': '\r\n\r\n\r\n',
				'another protocol': 'GET / GOPHER/1.0\r\n\r\n',
				'HTTP/2.0': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
				'a head that is too long': `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`,
				'many headers': `GET / HTTP/1.1\r\nHost: a\r\n${'X: y\r\n'.repeat(5000)}\r\n`,
				'a length that is none': 'POST /i/x HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n',
				'two lengths': 'POST /i/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
				'a TLS hello': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
			};
			for (const [what, head] of Object.entries(heads)) {
				const { text } = await stage.answer(Buffer.from(head, 'latin1'), 2000);
				stage.must(!/<html/i.test(text), `${what} is not answered by the library's page`);
				stage.must(!text || /^HTTP\/1\.[01] [45]\d\d /.test(text), `${what} is refused (${text.slice(0, 40)})`);
			}
		},
	},
	{
		id: 'L5',
		what: 'Expect: 200-x',
		async play(stage) {
			const { trigger } = await stage.given();
			const last = 'Host: a\r\nExpect: 200-x';
			for (const head of [
				`POST /i/${trigger} HTTP/1.1\r\n${last}\r\nContent-Length: 2\r\n\r\n{}`,
				`POST /i/${randomUUID()} HTTP/1.1\r\n${last}\r\nContent-Length: 2\r\n\r\n{}`,
				`POST /i/${trigger} HTTP/1.1\r\n${last}\r\nContent-Length: 2\r\n\r\n`,
				`GET /metrics HTTP/1.1\r\n${last}\r\n\r\n`,
			]) {
				const { status, text } = await stage.answer(head);
				const name = `${head.slice(0, 10)}… with${head.endsWith('{}') ? '' : 'out'} a body`;
				stage.must(status >= 200, `${name} is answered (${status || 'silence'})`);
				stage.must(!/<html/i.test(text), `${name} is not answered by the library's page`);
			}
		},
	},
	{
		id: 'L6',
		what: "interlock_enqueue(input => 'not json')",
		async play(stage) {
			const { workflow } = await stage.given();
			for (const input of ["'not json'", "''", "'{} {}'", "'{\"a\":}'"]) {
				const asked = stage.db.query(`SELECT interlock_enqueue('${workflow}', input => ${input})`);
				stage.must(await asked.then(() => false, () => true), `${input} is refused`);
			}
		},
	},
	{
		id: 'L7',
		what: 'a worker without a name',
		async play(stage) {
			for (const worker_id of ['', 7, null])
				refusedWith(stage, await stage.answer(handshake({ claims: { worker_id } }), 3000), [400, 401, 403], `worker_id ${JSON.stringify(worker_id)}`);
		},
	},
	{
		id: 'L9',
		what: 'lines of level error, by any client',
		async play(stage) {
			const bytes = [
				'\x16\x03\x01\x02\x00\x01',
				'GET / HTTP/9.9\r\n\r\n',
				`GET /${'x'.repeat(60_000)} HTTP/1.1\r\n\r\n`,
				`POST /i/${randomUUID()} HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n`,
				handshake({ version: 8 }),
				`${handshake()}\xff\xff\xff\xff\xff\xff`,
				`${handshake()}\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff`,
				randomBytes(2000).toString('latin1'),
			];
			for (const each of bytes) await stage.answer(Buffer.from(each, 'latin1'), 1000);
			const lines = stage.a.logged.split('\n').filter((line) => / level=error /.test(line));
			stage.must(lines.length === 0, `nothing of level error is logged (${lines[0]?.slice(0, 200)})`);
		},
	},
];
