// The table of `make bench`, from what tests/bench/run measured: report.mjs FOLDER FILE. The same goes
// to FILE as JSON. Of several rounds the best counts.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';

const [folder, file] = process.argv.slice(2);
const text = (name) => readFileSync(`${folder}/${name}`, 'utf8');
const json = (name) => JSON.parse(text(`${name}.json`));
const rounds = (name) =>
	readdirSync(folder)
		.filter((entry) => new RegExp(`^${name}\\.\\d\\.(json|pgbench)$`).test(entry))
		.map((entry) => entry.replace(/\.\w+$/, ''));
const most = (list) => list.reduce((a, b) => Math.max(a, b));
const least = (list) => list.reduce((a, b) => Math.min(a, b));
const mean = (list) => list.reduce((a, b) => a + b) / list.length;
const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
const numbers = (name) => text(name).trim().split(/\s+/).map(Number);

// pgbench's log of its transactions, of the time that counts: their number in a second, the median of
// their milliseconds.
const transactions = (name) => {
	const lines = text(`${name}.transactions`).trim().split('\n').map((line) => line.split(' ').map(Number));
	const end = ([, , , , seconds, us]) => seconds + us / 1e6;
	const [seconds] = numbers(`${name}.seconds`);
	const last = most(lines.map(end)) - seconds;
	const counted = lines.filter((line) => end(line) > last);
	return { tps: counted.length / seconds, p50: median(counted.map((line) => line[2])) / 1000 };
};

// What a message takes on average, in milliseconds: the sum of its lines.
const messages = (name, script) => {
	const names = text(`${script}.names`).trim().split('\n');
	const lines = [...text(`${name}.pgbench`).matchAll(/^ +([\d.]+) +\d+ {2}(?!\\set)/gm)].map((m) => Number(m[1]));
	const each = {};
	names.forEach((message, i) => (each[message] = (each[message] ?? 0) + lines[i]));
	const kinds = {};
	for (const [message, ms] of Object.entries(each)) (kinds[message.split(' ')[1]] ??= []).push(ms);
	return Object.fromEntries(Object.entries(kinds).map(([kind, list]) => [kind, mean(list)]));
};

const lives = rounds('lifecycle').map((name) => {
	const [daemon, server, daemonAfter, serverAfter] = numbers(`${name}.ticks`);
	const life = json(name);
	return { ...life, daemon_us: ((daemonAfter - daemon) * 1e4) / life.messages, server_us: ((serverAfter - server) * 1e4) / life.messages };
});
const life = lives.reduce((a, b) => (b.runs_s > a.runs_s ? b : a));
const ones = rounds('one').map(json);
const one = (event) => least(ones.map((o) => o.events[event].p50_ms));
const seventy = json('seventy');
const perKiB = (name) => {
	const [before, after] = numbers(`${name}.memory`);
	return (after - before) / JSON.parse(text(`${name}.hold`)).holding;
};
const each = { ...messages('each', 'lifecycle'), ...messages('claim', 'claim') };

// The best round of a queue, and what it took.
const queue = (name) => {
	const best = rounds(name).map(json).reduce((a, b) => (b.jobs_s > a.jobs_s ? b : a));
	return { ...best, what: `${best.jobs_s.toFixed(0)} jobs/s, ${best.commits_job.toPrecision(1)} transactions each` };
};
const queues = {
	'graphile-worker 0.16.6': queue('graphile'),
	'pg-boss 9, one by one': queue('pgboss-1'),
	'pg-boss 9, 100 at once': queue('pgboss-100'),
};
const full = rounds('full').map(json);

// Interlock, beside, the ratio that counts. A life has six changes of state but for the claim, which pgbench
// is spared: its lock would let one client in at a time.
const peer = most(rounds('pgbench').map((name) => transactions(name).tps));
const ours = { life: life.runs_s * 6, start: one('run:start'), heartbeats: most(rounds('heartbeat').map((n) => json(n).messages_s)) };
const theirs = { life: peer * 6, start: least(rounds('start').map((name) => transactions(name).p50)), heartbeats: most(rounds('echo').map((n) => json(n).messages_s)) };
// What users count: runs beside jobs. Then this tree beside another commit, each figure of the best of the rounds.
const [these, those] = ['this', 'beside'].map((name) => rounds(name).map(json));
const beside = (what, figure, best, want) => {
	if (!existsSync(`${folder}/beside`)) return [];
	const [one, other] = [these, those].map((list) => best(list.map((life) => life[figure])));
	return [[what, one, other, one / other, text('beside').trim(), want]];
};
const rows = [
	...Object.entries(queues).map(([name, { jobs_s }]) => [`runs/s, beside jobs/s of ${name}`, life.runs_s, jobs_s, life.runs_s / jobs_s, '', name.startsWith('graphile') ? '≥ 1' : '']),
	...beside('runs/s, all programs of this tree', 'runs_s', most, '≥ 2'),
	...beside('of a run: PostgreSQL, µs of a processor', 'postgres_us', least, '≤ 0.5'),
	...beside('… the daemon', 'daemon_us', least, ''),
	...beside('… records of the write-ahead log', 'log_records', least, '≤ 0.5'),
	...beside('… bytes of it', 'log_bytes', least, '≤ 0.5'),
	['durable changes of state/s, 1,000 runs in flight', ours.life, theirs.life, ours.life / theirs.life, 'pgbench -c 32, without claims', '≥ 5'],
	// A queue's job is taken and done: two changes. The claim counts here.
	...Object.entries(queues).map(([name, { changes_s, what }]) => [`… and claims, ${name}`, life.runs_s * 7, changes_s, (life.runs_s * 7) / changes_s, what, '≥ 3']),
	...full.map(({ runs_s }, i) => [`runs/s among ${process.env.FULL} million, round ${i + 1}`, runs_s, life.runs_s, runs_s / life.runs_s, 'empty tables', '≥ 0.9']),
	['run:start, one worker, p50 ms', ours.start, theirs.start, ours.start / theirs.start, 'pgbench -c 1', '≤ 1.3'],
	['changes at 70 %, p99 ms', seventy.changes.p99_ms, seventy.changes.p50_ms, seventy.changes.p99_ms / seventy.changes.p50_ms, 'p50', '≤ 10'],
	['runs/s there', seventy.runs_s, seventy.rate, seventy.runs_s / seventy.rate, 'wanted', '≥ 0.95'],
	['heartbeats/s', ours.heartbeats, theirs.heartbeats, ours.heartbeats / theirs.heartbeats, 'ws in Node', '≥ 1.5'],
	['an idle connection, KiB', perKiB('idle'), null, null, '', '≤ 20'],
	["a joined run's channel, KiB", perKiB('joined'), null, null, '', '≤ 2'],
	['processor time per message, µs', life.daemon_us, life.server_us, null, "PostgreSQL's", ''],
	['HOT updates of runs, % (one of four is not: sql/README.md)', ...numbers('hot'), null, null, '', '> 65'],
	['runs/s', life.runs_s, peer, life.runs_s / peer, 'pgbench -c 32, without claims', ''],
	['messages/s', life.messages_s, null, null, '', ''],
];
// What a claim costs, beside one while ten wait; a worker that asks every ten seconds and gets nothing.
const claim = (name) => json(`claims.${name}`).events.claim.p50_ms;
const [asleep, awake, ticks, seconds] = numbers('asking.cost');
rows.push(
	['a claim while 10,000 runs wait, p50 ms', claim('10000'), claim('10'), claim('10000') / claim('10'), 'while 10 wait', ''],
	['a claim while 1,000,000 wait, p50 ms', claim('many'), claim('10'), claim('many') / claim('10'), 'while 10 wait', ''],
	['a claim beside 1,000,000 finished, p50 ms', claim('finished'), claim('10'), claim('finished') / claim('10'), 'beside few', ''],
	['… for each 1,000 claimed beside a snapshot, ms more', (claim('held') - claim('unheld')) / (json('claimed').messages / 1000), null, null, '', '≤ 0.3'],
	['… and after vacuum, p50 ms', claim('vacuumed'), claim('unheld'), claim('vacuumed') / claim('unheld'), 'at first', ''],
	['empty claims/s', json('empty').messages_s, ours.heartbeats, json('empty').messages_s / ours.heartbeats, 'heartbeats/s', ''],
	['one of 5,000 idle workers, KiB', (awake - asleep) / 5000, null, null, '', '≤ 20'],
	['5,000 idle workers, part of a processor', ticks / 100 / seconds, null, null, '500 empty claims/s', ''],
);
const shown = (value) => (value === null ? '' : value >= 100 ? value.toFixed(0) : value.toFixed(2));
const width = Math.max(...rows.map(([name]) => name.length));
console.log();
for (const [name, value, beside, ratio, what, want] of rows)
	console.log(`${name.padEnd(width)} ${shown(value).padStart(9)} ${shown(beside).padStart(9)} ${shown(ratio).padStart(7)}  ${want.padEnd(6)} ${what}`);

console.log(`\n${'milliseconds'.padEnd(16)} ${'1,000 p50'.padStart(9)} ${'p99'.padStart(9)} ${'70 % p50'.padStart(9)} ${'p99'.padStart(9)} ${'one p50'.padStart(9)} pgbench -c 1, mean`);
for (const [event, { p50_ms, p99_ms }] of Object.entries(life.events)) {
	const at70 = seventy.events[event];
	const cells = [p50_ms, p99_ms, at70.p50_ms, at70.p99_ms, one(event)].map((ms) => shown(ms).padStart(9));
	console.log(`${event.padEnd(16)} ${cells.join(' ')} ${each[event] ? shown(each[event]) : ''}`);
}

const figures = Object.fromEntries(rows.map(([name, value, beside, ratio, what, want]) => [name, { value, beside, ratio, what, want }]));
writeFileSync(file, JSON.stringify({ figures, lives, ones, seventy, queues, full, pgbench_ms: each }, null, '\t') + '\n');
