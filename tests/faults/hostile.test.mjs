// Nothing that anybody sends takes the daemon down, keeps others waiting or shows a secret: each line of the
// table in hostile.mjs, in sizes for the sanitizers.
//
// long: it waits for what must not happen

import assert from 'node:assert/strict';
import { play, test } from '../wire/stage.mjs';
import { lines, playLine } from './hostile.mjs';

for (const line of lines)
	test(`${line.id}: ${line.what}`, async () => {
		const { failed } = await playLine(line, true);
		assert.deepEqual(failed, []);
	});

await play(600);
