// Other clocks for other programs, and the public half of the run key as a worker is given it.

import { createPublicKey } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';

const LIBRARY = resolve('build/tools/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1');

// The environment of a program whose clock is so many seconds off, or as many as a file says. Waits and
// measured durations stay true.
export const faketime = (offset, file) => {
	if (!existsSync(LIBRARY)) throw new Error(`${LIBRARY} is missing: run tests/deps`);
	const which = file ? { FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: '1' } : { FAKETIME: offset };
	return { LD_PRELOAD: LIBRARY, FAKETIME_DONT_FAKE_MONOTONIC: '1', ...which };
};

const keyFile = readFileSync(process.env.INTERLOCK_CONF, 'utf8').match(/^run_token_key *= *(.+)$/m)[1];
const pem = createPublicKey(readFileSync(keyFile)).export({ type: 'spki', format: 'pem' });
export const INTERLOCK_PUBLIC_KEY = Buffer.from(pem).toString('base64');
