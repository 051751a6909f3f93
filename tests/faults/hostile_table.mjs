// node hostile_table.mjs [LINE…]: prints the table; see the script `hostile`.
import { lines, table } from './hostile.mjs';

const names = process.argv.slice(2);
const chosen = lines.filter(({ id }) => !names.length || names.includes(id));
process.exit((await table(chosen, Boolean(process.env.SMALL))) ? 0 : 1);
