// What hostile.test.mjs is for workers, for everybody who reaches the port: the table in hostile_doors.mjs.
//
// long: it waits for what must not happen

import { doors } from './hostile_doors.mjs';
import { playSmall } from './hostile.mjs';

await playSmall(doors);
