// A PostgreSQL of the test's own, which may be crashed, stopped, filled up, copied to a standby; and a
// wire to it that can be cut.

import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
	appendFileSync, chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync,
	writeFileSync,
} from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Database } from '../client/db.mjs';
import { atEnd } from '../wire/stage.mjs';

// Not one of the ephemeral ports, which another program may get before it is used.
export const freePort = async () => {
	for (;;) {
		const port = 10_000 + Math.floor(Math.random() * 10_000);
		const server = net.createServer().listen(port, '127.0.0.1');
		if (!(await once(server, 'listening').then(() => true, () => false))) continue;
		server.close();
		await once(server, 'close');
		return port;
	}
};

// A folder that the cluster's user can enter.
export const newFolder = (name) => {
	const folder = mkdtempSync(join(tmpdir(), `interlock-${name}-`));
	chmodSync(folder, 0o755);
	atEnd(() => rmSync(folder, { recursive: true, force: true }));
	return folder;
};

export class Cluster {
	// `env`: what its programs find in their environment beside ours.
	static async start(name, { folder = newFolder(name), env = {} } = {}) {
		const cluster = new Cluster(join(folder, 'pg'), await freePort(), env);
		atEnd(() => cluster.#remove());
		cluster.#launch();
		return cluster;
	}

	constructor(data, port, env = {}) {
		Object.assign(this, { data, port, env: { ...process.env, ...env } });
	}

	#script(...args) {
		const options = { encoding: 'utf8', env: this.env };
		return execFileSync('tests/cluster', [args[0], this.data, ...args.slice(1)], options);
	}

	// Without a good-bye, which would take its time.
	#remove() {
		if (this.isRunning) process.kill(this.pid, 'SIGQUIT');
		this.#script('remove');
	}

	#launch() {
		const said = this.#script('start', '--tcp', String(this.port));
		// Each start has a folder for its sockets, which is forgotten with the lock file.
		const [sockets] = said.match(/(?<=host=)\/tmp\/interlock-pg\.\w+/);
		atEnd(() => rmSync(sockets, { recursive: true, force: true }));
		const [owner] = said.match(/(?<=DATABASE_OWNER_URL=').*(?=')/);
		this.owner = owner;
		this.root = owner.replace('interlock_owner@', 'postgres@');
	}

	// How the daemon reaches it: by its port, or by what stands in between.
	urls(port = this.port) {
		const at = `127.0.0.1:${port}`;
		return { url: `postgresql://interlock@${at}/interlock`, migrate_url: this.owner };
	}

	// A new psql, for none outlives a restart; when it can be had.
	async psql(as = this.owner) {
		const ready = () => execFileSync('pg_isready', ['-q', '-t', '1', '-d', as]);
		for (const end = Date.now() + 120_000; ; await pause(50)) {
			try {
				ready();
				break;
			} catch (error) {
				if (Date.now() > end) throw error;
			}
		}
		const db = new Database(as);
		atEnd(() => db.close());
		return db;
	}

	// As the user that owns it.
	async pg(program, ...args) {
		const { uid, gid } = statSync(this.data);
		await promisify(execFile)(program, args, { cwd: '/', uid, gid, env: this.env });
	}

	#control(...args) {
		const log = ['-l', join(this.data, 'server.log')];
		return this.pg('pg_ctl', '-D', this.data, '-s', '-w', '-t', '120', ...log, ...args);
	}

	stop(mode = 'fast') {
		return this.#control('-m', mode, 'stop');
	}

	async start() {
		this.#launch();
	}

	restart(mode) {
		return this.#control('-m', mode, 'restart');
	}

	get isRunning() {
		return existsSync(join(this.data, 'postmaster.pid'));
	}

	get pid() {
		return Number(readFileSync(join(this.data, 'postmaster.pid'), 'utf8').split('\n')[0]);
	}

	// A copy that follows it, on a port of its own.
	async standby() {
		const standby = await standbyOf(this.data, this.root, await freePort());
		atEnd(() => standby.#remove());
		standby.#launch();
		return standby;
	}

	promote() {
		return this.#control('promote');
	}
}

// A copy of the cluster in `data` that will follow it, not started. It is made by the server itself, for a
// pg_basebackup serves no newer server than itself.
export const standbyOf = async (data, url, port) => {
	const standby = new Cluster(`${data}-standby`, port);
	const copy = `${standby.data}.tar`;
	const { uid, gid } = statSync(data);
	for (const folder of [standby.data, copy]) {
		mkdirSync(folder, { mode: 0o700 });
		chownSync(folder, uid, gid);
	}
	const backup = `BASE_BACKUP (TARGET 'server', TARGET_DETAIL '${copy}', CHECKPOINT 'fast', WAL, MANIFEST 'no')`;
	// psql takes the result behind the copied data for an error; that the backup is whole tar finds.
	execFileSync('psql', ['-Xq', `${url}&replication=true`], { input: `${backup};`, stdio: ['pipe', 'ignore', 'ignore'] });
	await standby.pg('tar', '-xf', join(copy, 'base.tar'), '-C', standby.data);
	const at = new URL(url.replace('@/', '@localhost/')).searchParams;
	const source = `host=${at.get('host')} port=${at.get('port')} user=postgres`;
	writeFileSync(join(standby.data, 'standby.signal'), '');
	appendFileSync(join(standby.data, 'postgresql.auto.conf'), `primary_conninfo = '${source}'\n`);
	return standby;
};

// A small file system of its own, for what fills up. Null where it cannot be mounted.
export const smallDisk = (name, size) => {
	const folder = newFolder(name);
	const mounted = join(folder, 'disk');
	mkdirSync(mounted);
	try {
		execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=755`, 'tmpfs', mounted], { stdio: 'ignore' });
	} catch {
		return null;
	}
	atEnd(() => execFileSync('umount', ['-l', mounted]));
	return mounted;
};

// What lies between the daemon and the database. While it is frozen nothing passes, and neither side
// notices; cut() closes the daemon's side, and later the database's (its promise).
export class Wire {
	#pairs = new Set();
	#frozen = false;
	#deaf = false;

	static async to(port) {
		const wire = new Wire();
		wire.server = net.createServer((near) => wire.#joined(near, net.connect(port, '127.0.0.1')));
		wire.server.listen(0, '127.0.0.1');
		await once(wire.server, 'listening');
		wire.port = wire.server.address().port;
		atEnd(() => wire.server.close());
		return wire;
	}

	#joined(near, far) {
		const pair = { near, far };
		this.#pairs.add(pair);
		const pass = (from, to) => {
			from.on('data', (data) => from === near || !this.#deaf ? to.write(data) : null);
			from.on('close', () => pair.cut || to.destroy());
			from.on('error', () => {});
		};
		pass(near, far);
		pass(far, near);
		far.on('close', () => this.#pairs.delete(pair));
		if (this.#frozen) this.#freeze(pair);
	}

	#freeze({ near, far }) {
		near.pause();
		far.pause();
	}

	freeze() {
		this.#frozen = true;
		for (const pair of this.#pairs) this.#freeze(pair);
	}

	// What the database answers from now on is lost; what it is asked passes.
	deafen() {
		this.#deaf = true;
	}

	// New connections pass again; the old ones are reset on this side, and on the other `later`.
	async cut(later = Promise.resolve()) {
		this.#frozen = this.#deaf = false;
		const pairs = [...this.#pairs];
		for (const pair of pairs) {
			pair.cut = true;
			pair.near.resetAndDestroy();
		}
		await later;
		for (const { far } of pairs) far.resetAndDestroy();
	}
}
