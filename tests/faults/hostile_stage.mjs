// One hostile line after another, each against a coordinator of its own: what it is given to play with, what is
// measured meanwhile, and what must hold after each of them.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { Worker as Thread } from 'node:worker_threads';
import { Database, fixture, quote, seal } from '../client/db.mjs';
import { Coordinator, Held, atEnd, newDatabase } from '../wire/stage.mjs';

export const MiB = 1 << 20;
export const HEARTBEAT_MS = 5000; // generous: who waits longer is blocked, not slow
const WITNESSED = 4; // runs of the witness: more than there are writers
const AFTER_MS = 60_000; // until everything must be well again

// Keeps little of what was freed, or the sanitizers' memory hides the daemon's.
process.env.ASAN_OPTIONS = [process.env.ASAN_OPTIONS, 'quarantine_size_mb=4'].filter(Boolean).join(':');

export class Stage {
	sent = 0;
	checks = [];

	static database = null;

	// `options`: of the coordinator; `under`: the command that starts it.
	static async open(name, { options = {}, under = [] } = {}) {
		const stage = new Stage();
		Stage.database ??= await newDatabase('hostile');
		stage.a = await Coordinator.start(name, options, Stage.database, under);
		stage.pid = under.length ? Number(readFileSync(`/proc/${stage.a.child.pid}/task/${stage.a.child.pid}/children`, 'utf8')) || stage.a.child.pid : stage.a.child.pid;
		stage.db = new Database(Stage.database.migrate_url);
		atEnd(() => stage.db.close());
		stage.a.exited.then((code) => (stage.left = code));
		stage.limit = 512 * MiB;
		return stage;
	}

	// The size of the process, and the largest it has been, in bytes.
	memory(field = 'VmRSS') {
		const [, kB] = readFileSync(`/proc/${this.pid}/status`, 'utf8').match(new RegExp(`${field}:\\s*(\\d+)`)) ?? [0, 0];
		return Number(kB) * 1024;
	}

	async watch() {
		const id = await fixture(this.db);
		await this.db.query(`SELECT interlock_enqueue('${id.workflow}', '{}', queue => '${id.queue}')
			FROM generate_series(2, ${WITNESSED})`);
		const workerData = { url: this.a.url, queue: id.queue, runs: WITNESSED };
		this.witness = new Thread(new URL('hostile_witness.mjs', import.meta.url), { workerData });
		atEnd(() => this.witness.terminate());
		await once(this.witness, 'message');
		await this.witnessed('reset');
		this.before = this.memory();
	}

	async witnessed(word) {
		this.witness.postMessage(word);
		const [report] = await once(this.witness, 'message');
		return report;
	}

	// What must be so; `what` is said of it when it is not.
	must(holds, what) {
		this.checks.push([Boolean(holds), what]);
	}

	given(options) {
		return fixture(this.db, options);
	}

	// A run that is joined by its worker.
	async held(options) {
		return Held.join(this.a, await this.given(options));
	}

	// A credential is what an operator stores, by import or by any other way.
	async store(id, body) {
		await this.db.query(`UPDATE credentials SET body = '\\x${seal(id.credential, body)}'
			WHERE project_id = ${quote(id.project)} AND id = ${quote(id.credential)}`);
	}

	// The reply, or {status: 'nothing'} if there is none in time or the socket is closed.
	async said(asked, ms = AFTER_MS) {
		const late = pause(ms, { status: 'nothing', response: {} }, { ref: false });
		return Promise.race([asked.catch((error) => ({ status: 'nothing', response: { error: error.message } })), late]);
	}

	// Bytes to the listening socket; resolves with {socket, text(), closed}.
	async connect(bytes = '') {
		const [host, port] = [this.a.address.replace(/:\d+$/, ''), Number(this.a.address.match(/\d+$/)[0])];
		const socket = net.connect(port, host);
		let text = '';
		socket.on('error', () => {});
		socket.on('data', (data) => (text += data.toString('latin1')));
		const closed = new Promise((resolve) => socket.on('close', resolve));
		atEnd(() => socket.destroy());
		await Promise.race([once(socket, 'connect'), closed]).catch(() => {});
		if (bytes.length) socket.write(bytes);
		this.sent += bytes.length;
		return { socket, text: () => text, closed };
	}

	// What is answered to these bytes until the other side closes, or so long.
	async answer(bytes, ms = 10_000) {
		const line = await this.connect(bytes);
		let waited = true;
		await Promise.race([line.closed.then(() => (waited = false)), pause(ms, null, { ref: false })]);
		line.socket.destroy();
		return { text: line.text(), status: Number(line.text().match(/^HTTP\/1\.. (\d+)/)?.[1] ?? 0), waited };
	}

	// What must hold after every line, and the row of the table.
	async close() {
		const late = (async () => {
			for (const end = Date.now() + AFTER_MS; this.left === undefined; await pause(100)) {
				const report = await this.witnessed('report');
				if (report.n > 2 * WITNESSED || Date.now() > end) return;
			}
		})();
		await Promise.race([late, this.a.exited]);
		const report = await this.witnessed('stop');
		const died = this.left !== undefined;
		const row = { sent: this.sent, before: this.before, after: died ? 0 : this.memory(), peak: died ? 0 : this.memory('VmHWM') };
		this.must(!died, `the daemon lives (it left with ${this.left})`);
		if (!died) this.must(row.peak - this.before < this.limit + 96 * MiB, `memory stays within its limit (it grew by ${Math.round((row.peak - this.before) / MiB)} MiB)`);
		this.must(!report.gone, `others keep their socket (${report.gone})`);
		this.must(report.heartbeat < HEARTBEAT_MS, `another worker's heartbeat is answered (${Math.round(report.heartbeat)} ms)`);
		this.must(report.n > 0 && report.refused === 0, `small messages of others are stored (${report.refused} of ${report.n} were not)`);
		this.must(report.small < 2 * HEARTBEAT_MS, `small messages of others are answered (${Math.round(report.small)} ms)`);
		if (!died) await this.a.kill();
		const failed = this.checks.filter(([holds]) => !holds).map(([, what]) => what);
		const blocked = report.small >= AFTER_MS || report.heartbeat >= AFTER_MS;
		const became = died ? 'died' : blocked ? 'blocked' : failed.length ? 'not as it must be' : 'ok';
		return { ...row, heartbeat: report.heartbeat, small: report.small, became, failed };
	}
}
