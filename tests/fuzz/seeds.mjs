// The first inputs of the fuzz targets, made of what the real worker said: node seeds.mjs FOLDER. Each target has
// a folder of its own name; one that nothing here knows begins with nothing but its dictionary.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';

const [, , folder] = process.argv;
const data = new URL('../client/data/', import.meta.url);
const lines = (file) => readFileSync(new URL(file, data), 'utf8').trimEnd().split('\n');

const seed = (target, content) => {
	const at = join(folder, target);
	mkdirSync(at, { recursive: true });
	writeFileSync(join(at, createHash('sha1').update(content).digest('hex').slice(0, 16)), content);
};

const binary = ([join_ref, ref, topic, event, payload]) => {
	const strings = [join_ref ?? '', ref, topic, event].map((s) => Buffer.from(s));
	const head = Buffer.from([0, ...strings.map((s) => s.length)]);
	return Buffer.concat([head, ...strings, Buffer.from(JSON.stringify(payload))]);
};

for (const line of lines('worker-frames.jsonl')) {
	const frame = JSON.parse(line);
	const [, , , , payload] = frame;
	seed('phx', line);
	seed('phx', binary(frame));
	seed('slice', JSON.stringify(payload));
	for (const part of payload.token?.split('.') ?? []) seed('slice', Buffer.from(part, 'base64url'));
	if (payload.token) {
		const [header, claims] = payload.token.split('.').map((part) => Buffer.from(part, 'base64url'));
		seed('jwt', `r${payload.token}`);
		seed('jwt', `h${payload.token}`);
		seed('jwt', Buffer.concat([Buffer.from('s{"alg":"HS256"}\n'), claims]));
		seed('jwt', Buffer.concat([Buffer.from('s'), header, Buffer.from('\n'), claims]));
	}
}

for (const { get, text } of lines('sessions.jsonl').map((line) => JSON.parse(line))) {
	if (text) seed('phx', text);
	const head = ['Host: a', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13'];
	if (get) seed('head', `GET ${get} HTTP/1.1\r\n${head.join('\r\n')}\r\n\r\n`);
}

// The sample file, and the same with everything that it leaves open said.
const sample = readFileSync(new URL('../../config/interlock.conf', import.meta.url), 'utf8');
seed('conf', sample);
seed('conf', sample.replaceAll(/^#(\w+ =|\[)/gm, '$1'));
for (const section of sample.replaceAll(/^#(\w+ =|\[)/gm, '$1').split(/(?=^\[)/m)) seed('conf', section);

for (const [trusted, peer, forwarded] of [
	['', '127.0.0.1', '10.0.0.1'],
	['127.0.0.1 10.0.0.0/8', '127.0.0.1', '192.0.2.1, 10.0.0.1'],
	['unix ::1 2001:db8::/32', 'unix', '"for", [2001:db8::1]:567,1.2.3.4:5'],
])
	seed('net', [trusted, peer, forwarded].join('\n'));

for (const text of ['a p\nu\np', 'the key is hunter2, aHVudGVyMg==\nhunter2\nhunter2hunter2', 'abab\nab\nbab\nabab'])
	seed('scrub', text);

for (const text of [
	'postgresql://u:hunter2@h:5432/db?application_name=x&host=a,b',
	'postgresql://u:x@h:5432/db?sslpassword=hunter2&host=a,b',
	"postgresql://u:x@h:5432/db?sslpassword='''hunter2&host=a,b",
	"host=a,b port=1,2 password='an @ / : in hunter2' connect_timeout=5",
	'postgres://u:hunter2%40%2f@%2Frun%2Fpostgresql:5433/db?application_name=a@b',
])
	seed('conninfo', text);
