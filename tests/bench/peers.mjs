// Job queues on PostgreSQL, each at its quickest documented setting, with jobs that do nothing:
//
//   node peers.mjs NAME URL SECONDS     the sums as JSON
//
// A job changes its state durably twice: taken, done. The waiting jobs are inserted before. How many
// transactions a job took is read off the server.
import { Logger, run, runMigrations } from 'graphile-worker';
import pg from 'pg';
import PgBoss from 'pg-boss';

const [name, url, seconds] = process.argv.slice(2);
const CLIENTS = 24;

const pool = new pg.Pool({ connectionString: url, max: 2 });
const one = async (text, values) => (await pool.query(text, values)).rows[0];

// Has so many jobs wait, gets them done until `over` resolves, and stops.
const graphile = async (waiting, over) => {
	const options = {
		connectionString: url,
		concurrency: CLIENTS,
		maxPoolSize: CLIENTS,
		noHandleSignals: true,
		logger: new Logger(() => (level, message) => level === 'error' && console.error(message)),
	};
	await runMigrations(options);
	await pool.query(
		`SELECT graphile_worker.add_jobs(array_agg(('nothing', '{}', NULL, NULL, NULL, NULL, NULL, NULL)::graphile_worker.job_spec))
		FROM generate_series(1, $1)`,
		[waiting],
	);
	await pool.query('VACUUM ANALYZE');
	let done = 0;
	const runner = await run({ ...options, taskList: { nothing: async () => void done++ } });
	await over(() => done);
	await runner.stop();
};

// Fetches so many jobs at a time, and completes all of them at once.
const boss = (batch) => async (waiting, over) => {
	const queue = new PgBoss({ connectionString: url, max: CLIENTS, noScheduling: true, noSupervisor: true });
	queue.on('error', (error) => console.error(error));
	await queue.start();
	for (let left = waiting; left > 0; left -= 10_000)
		await queue.insert(Array.from({ length: Math.min(left, 10_000) }, () => ({ name: 'nothing', data: {} })));
	await pool.query('VACUUM ANALYZE');
	let done = 0;
	let stopped = false;
	const client = async () => {
		for (let jobs; !stopped && (jobs = await queue.fetch('nothing', batch)); done += jobs.length)
			await queue.complete(jobs.map(({ id }) => id));
	};
	const clients = Array.from({ length: batch > 1 ? 4 : CLIENTS }, client);
	await over(() => done);
	stopped = true;
	await Promise.all(clients);
	await queue.stop({ graceful: false });
};

// How many wait for each second: pg-boss sorts them at every fetch, so more than are needed would slow it.
const peers = {
	graphile: [graphile, 4000],
	'pgboss-1': [boss(1), 800],
	'pgboss-100': [boss(100), 4000],
};
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const commits = async () =>
	Number((await one('SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()')).xact_commit);

const [peer, rate] = peers[name];
const waiting = rate * (Number(seconds) + 2);
const before = await commits();
// From the first job on, for some seconds, or until all are done.
await peer(waiting, async (done) => {
	while (done() === 0) await sleep(1);
	const [from, start] = [done(), performance.now()];
	while (done() < waiting && performance.now() < start + seconds * 1000) await sleep(1);
	const [jobs, spent] = [done() - from, (performance.now() - start) / 1000];
	await sleep(1000); // statistics are reported at intervals
	const took = (await commits()) - before;
	console.log(JSON.stringify({ jobs, seconds: spent, jobs_s: jobs / spent, changes_s: (2 * jobs) / spent, commits_job: took / done() }));
});
await pool.end();
process.exit(0);
