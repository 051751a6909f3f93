// Nothing that a peer sends takes the daemon down, keeps others waiting or shows a secret: each line of the
// table in hostile_work.mjs, in sizes for the sanitizers. hostile_doors.test.mjs has the others.
//
// long: it waits for what must not happen

import { playSmall } from './hostile.mjs';
import { work } from './hostile_work.mjs';

await playSmall(work);
