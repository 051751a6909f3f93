// The table of what hostile senders do, line by line, and how it goes. Played by the script beside it, in full or
// SMALL=1, and by hostile.test.mjs.

import assert from 'node:assert/strict';
import { play, test } from '../wire/stage.mjs';
import { endpoints } from './hostile_doors.mjs';
import { Stage } from './hostile_stage.mjs';
import { work } from './hostile_work.mjs';

export const lines = [...work, ...endpoints];

// Plays one line; resolves with its row, `failed` being the sentences that do not hold.
export const playLine = async ({ id, options, under, play }, small) => {
	const stage = await Stage.open(`hostile-${id}`.toLowerCase(), { options: options?.(small), under });
	await stage.watch();
	try {
		await play(stage, small);
	} catch (error) {
		stage.must(false, `${error.stack}`);
	}
	return stage.close();
};

// As tests, in small.
export const playSmall = (some) => {
	for (const line of some)
		test(`${line.id}: ${line.what}`, async () => {
			const { failed } = await playLine(line, true);
			assert.deepEqual(failed, []);
		});
	return play();
};

const bytes = (n) => (n >= 1 << 20 ? `${(n / (1 << 20)).toFixed(1)} MiB` : `${Math.ceil(n / 1024)} KiB`);
const ms = (n) => `${Math.round(n)} ms`;

export const table = async (chosen, small) => {
	console.log('| line | what is sent | bytes sent | RSS before | after | peak | slowest heartbeat | slowest small message | became |');
	console.log('| --- | --- | --- | --- | --- | --- | --- | --- | --- |');
	let good = true;
	for (const line of chosen) {
		const row = await playLine(line, small);
		const sizes = [row.sent, row.before, row.after, row.peak].map(bytes);
		console.log(`| ${[line.id, line.what, ...sizes, ms(row.heartbeat), ms(row.small), row.became].join(' | ')} |`);
		for (const what of row.failed) console.error(`  ${line.id}: not so: ${what}`);
		good &&= row.became === 'ok';
	}
	return good;
};
