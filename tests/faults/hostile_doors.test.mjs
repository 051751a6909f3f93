// What hostile.test.mjs is for workers, for every client that reaches the port: the table in hostile_doors.mjs.
//
// long: it waits for what must not happen

import { endpoints } from './hostile_doors.mjs';
import { playSmall } from './hostile.mjs';

await playSmall(endpoints);
