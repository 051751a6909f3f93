// What was acknowledged, looked up in the database soon after: it must be there already.

import { quote } from '../client/db.mjs';

// For each kind: of which rows (run, id) there must be one. {of} stands for the projects.
const THERE = {
	steps: `SELECT FROM steps f WHERE f.project_id IN ({of}) AND f.run_id = v.run::uuid AND f.id = v.id::uuid`,
	ends: `SELECT FROM steps f WHERE f.project_id IN ({of}) AND f.run_id = v.run::uuid AND f.id = v.id::uuid
		AND f.exit_reason IS NOT NULL`,
	lines: `SELECT FROM log_lines f WHERE f.project_id IN ({of}) AND f.run_id = v.run::uuid AND f.id = v.id::uuid`,
	starts: `SELECT FROM runs r WHERE r.project_id IN ({of}) AND r.id = v.run::uuid AND r.state NOT IN ('available', 'claimed')`,
	completes: `SELECT FROM runs r WHERE r.project_id IN ({of}) AND r.id = v.run::uuid
		AND r.state NOT IN ('available', 'claimed', 'started')`,
};

export class Facts {
	#new = Object.fromEntries(Object.keys(THERE).map((kind) => [kind, []]));
	checked = 0;

	// `query`: to ask the database, again if it goes meanwhile.
	constructor(projects, query) {
		Object.assign(this, { of: projects.map(quote).join(', '), query });
	}

	acknowledged(run, event, { step_id, log_line_id, warnings }) {
		const note = (kind, id = null) => this.#new[kind].push([run, id]);
		if (event === 'run:log' && log_line_id && !warnings?.state) note('lines', log_line_id);
		if (event === 'run:complete') note('completes');
		// A lost run may have been lost before it started, and its late start is only noted.
		if (event === 'run:start') note('starts');
		if (event === 'step:start' && step_id) note('steps', step_id);
		if (event === 'step:complete' && step_id) note('ends', step_id);
	}

	// Resolves with what is missing, as sentences.
	async missing() {
		const found = [];
		for (const kind of Object.keys(THERE)) {
			const all = this.#new[kind].splice(0);
			while (all.length) {
				const some = all.splice(0, 1000);
				const values = some.map(([run, id]) => `(${quote(run)}, ${quote(id)})`).join(',');
				const rows = await this.query(
					`SELECT v.run, v.id FROM (VALUES ${values}) v(run, id)
					WHERE NOT EXISTS (${THERE[kind].replaceAll('{of}', this.of)})`,
				);
				this.checked += some.length;
				found.push(...rows.map(([run, id]) => `acknowledged and missing: ${kind} of run ${run}, ${id}`));
			}
		}
		return found;
	}
}
