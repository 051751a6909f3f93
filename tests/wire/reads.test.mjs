// A message reads about as many rows whatever there is already: a coordinator begins with a database that is
// empty, for which other plans are good than later on, and brings many runs to their ends.

import assert from 'node:assert/strict';
import { Database } from '../client/db.mjs';
import { Load, runs } from '../faults/load.mjs';
import * as stage from './stage.mjs';
import { Coordinator, test } from './stage.mjs';

const RUNS = 1000;
const ROWS = 150; // for a message; it is 40, and 3,200 if plans are never renewed

// All rows read so far, through indexes or not, by backends that have ended or were asked.
const read = async (db) => {
	await db.query('SELECT pg_stat_force_next_flush()');
	const [[rows]] = await db.query(`SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))
		+ (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes) FROM pg_stat_user_tables`);
	return Number(rows);
};

test('what a message reads does not grow with what is there', async () => {
	const urls = await stage.newDatabase('reads');
	const a = await Coordinator.start('reads', {}, urls);
	const db = new Database(urls.migrate_url);
	const few = new Load({ url: a.url, id: await runs(db, 20), workers: 2 });
	await db.until('SELECT count(*) FROM waiting', ([[n]]) => n === '0');
	await few.finish(); // and with that every plan is made
	const load = new Load({ url: a.url, id: await runs(db, RUNS), workers: 20 });
	const before = await read(db);
	await load.progress(9 * RUNS);
	await load.finish();
	await a.stop(); // its backends end, and with that report what they have read
	const rows = ((await read(db)) - before) / load.answered;
	console.log(`${rows.toFixed(1)} rows for each of ${load.answered} messages`);
	assert.ok(rows < ROWS, `${rows} rows for each message`);
});

await stage.play();
