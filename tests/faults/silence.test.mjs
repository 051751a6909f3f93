// Silent workers, dead workers, and workers that could not connect: the janitor against the clock. It enforces
// deadlines half a minute after its start and leases a whole lease after it, so that all of these tests are
// played at once, each on a database and at coordinators of its own.
//
// long: it waits for two minutes

import { play } from '../wire/stage.mjs';
import './silence/deaths.mjs';
import './silence/back.mjs';
import './silence/leases.mjs';
import './silence/outages.mjs';
import './silence/clocks.mjs';

await play({ together: true });
