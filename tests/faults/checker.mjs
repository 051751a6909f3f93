// Compares the replies that the workers of a load got with the database. Nothing that was acknowledged is
// missing, nothing that was refused is there, nothing is there twice or out of order; what was answered
// `unavailable`, or not at all, may be there or not. And whatever was sent, the tables agree with each other.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { checkCounts } from './counted.mjs';

const md5 = (text) => createHash('md5').update(text).digest('hex');
const micros = (column) => `(extract(epoch FROM ${column}) * 1000000)::bigint`;
const APPLIED = "('accepted', 'implicit', 'yielded', 'revived', 'observed', 'released', 'requeued')";

// What the tables must never say of each other, as queries of which every row is a fault.
const contradictions = (project) => ({
	'a step is open in a final run': `SELECT s.run_id, s.id FROM steps s
		JOIN runs r ON r.project_id = s.project_id AND r.id = s.run_id
		WHERE s.project_id = '${project}' AND s.exit_reason IS NULL
			AND r.state NOT IN ('available', 'claimed', 'started')`,
	'a step is of no run': `SELECT s.id FROM steps s LEFT JOIN runs r
		ON r.project_id = s.project_id AND r.id = s.run_id
		WHERE s.project_id = '${project}' AND r.id IS NULL`,
	'in_flight is not what is claimed or started': `SELECT r.id, r.state FROM runs r
		LEFT JOIN in_flight f ON f.project_id = r.project_id AND f.run_id = r.id
		WHERE r.project_id = '${project}'
			AND (r.state IN ('claimed', 'started')) <> (f.run_id IS NOT NULL)`,
	'waiting is not what is available': `SELECT r.id, r.state FROM runs r
		LEFT JOIN waiting w ON w.project_id = r.project_id AND w.run_id = r.id
		WHERE r.project_id = '${project}' AND (r.state = 'available') <> (w.run_id IS NOT NULL)`,
	'a work order does not follow from its runs': `SELECT w.id, w.state FROM work_orders w
		WHERE w.project_id = '${project}' AND w.state <> (
			SELECT CASE WHEN bool_or(r.state IN ('claimed', 'started')) THEN 'running'
				WHEN bool_or(r.state = 'available') THEN 'pending'
				ELSE (array_agg(r.state ORDER BY r.seq DESC))[1] END
			FROM runs r WHERE r.project_id = w.project_id AND r.work_order_id = w.id)`,
	'the journal ends elsewhere than the run': `SELECT r.id, r.state, r.revision, t.to_state, t.revision
		FROM runs r LEFT JOIN LATERAL (SELECT * FROM transitions t
			WHERE t.project_id = r.project_id AND t.run_id = r.id AND t.outcome IN ${APPLIED}
			ORDER BY t.id DESC LIMIT 1) t ON true
		WHERE r.project_id = '${project}' AND r.revision > 0
			AND (t.to_state, t.revision) IS DISTINCT FROM (r.state, r.revision)`,
	'the journal has a revision twice, or misses one': `SELECT run_id FROM transitions
		WHERE project_id = '${project}' AND outcome IN ${APPLIED}
			AND (event NOT LIKE 'step:%' OR from_state <> to_state) GROUP BY run_id
		HAVING count(*) <> max(revision) OR count(DISTINCT revision) <> count(*)`,
	'the journal\'s revisions are out of order': `SELECT run_id FROM (SELECT run_id, revision,
			lag(revision) OVER (PARTITION BY run_id ORDER BY id) AS before
			FROM transitions WHERE project_id = '${project}') t
		WHERE revision < before`,
});

// The project's rows by id; lines, which have no name that the worker knows, by their text.
const read = async (db, project) => {
	const byId = async (text) => new Map((await db.query(text)).map(([id, ...row]) => [id, row]));
	const steps = await byId(`SELECT s.id, s.run_id, ${micros('s.started_at')}, s.exit_reason,
		${micros('s.finished_at')}, d.id, md5(d.body) FROM steps s
		LEFT JOIN dataclips d ON d.project_id = s.project_id AND d.id = s.output_dataclip_id
		WHERE s.project_id = '${project}'`);
	const runs = await byId(`SELECT r.id, r.state, ${micros('r.started_at')}, ${micros('r.finished_at')},
		md5(d.body) FROM runs r
		LEFT JOIN dataclips d ON d.project_id = r.project_id AND d.id = r.final_dataclip_id
		WHERE r.project_id = '${project}'`);
	const lines = new Map(), journal = new Map(), clips = new Set();
	for (const [id, run, text] of await db.query(
		`SELECT id, run_id, message FROM log_lines WHERE project_id = '${project}'`))
		lines.set(text, [...(lines.get(text) ?? []), { id, run }]);
	for (const [run, event, step] of await db.query(`SELECT run_id, event, step_id FROM transitions
		WHERE project_id = '${project}' AND outcome IN ${APPLIED} ORDER BY run_id, id`))
		journal.set(run, [...(journal.get(run) ?? []), `${event} ${step}`]);
	for (const [id] of await db.query(
		`SELECT id FROM dataclips WHERE project_id = '${project}' AND type = 'step_result'`))
		clips.add(id);
	return { steps, runs, lines, journal, clips };
};

const textsOf = ({ event, payload }) =>
	(event === 'run:log' ? [payload] : payload.logs).map(({ message }) => message.join(' '));

// Is it there, just as it was said? One function for each event; lists with a text for each line.
const stored = {
	'run:start': ({ runs }, { run, payload }) => runs.get(run)?.[1] === payload.timestamp,
	'run:complete': ({ runs }, { run, payload }) => {
		const [state, , finished, body] = runs.get(run) ?? [];
		const clip = payload.final_state && md5(JSON.stringify(payload.final_state));
		return state === 'success' && finished === payload.timestamp && (!clip || body === clip);
	},
	'step:start': ({ steps }, { run, payload }) => {
		const [of, started] = steps.get(payload.step_id) ?? [];
		return of === run && started === payload.timestamp;
	},
	'step:complete': ({ steps }, { run, payload }) => {
		const [of, , exit, finished, clip, body] = steps.get(payload.step_id) ?? [];
		const same = clip === payload.output_dataclip_id && body === md5(payload.output_dataclip);
		return of === run && exit === 'success' && finished === payload.timestamp && same;
	},
};

// So much of it as is there, of how much.
const found = (rows, said) => {
	if (stored[said.event]) return { here: Number(stored[said.event](rows, said)), whole: 1 };
	const texts = textsOf(said);
	const here = texts.filter((text) => rows.lines.get(text)?.some(({ run }) => run === said.run));
	return { here: here.length, whole: texts.length };
};

const named = ({ run, event, payload, outcome, tries }) =>
	`${event} of ${run} (${payload.step_id ?? payload.timestamp}), ${outcome} after ${tries} tries`;

function* faultsOf(rows, load) {
	const texts = new Set(), steps = new Set(), clips = new Set();
	for (const said of load.said) {
		const { here, whole } = found(rows, said);
		if (said.outcome === 'ok' && here < whole) yield `missing: ${named(said)}`;
		if (said.outcome === 'refused' && here) yield `refused and stored: ${named(said)}`;
		if (said.outcome !== 'unknown' && said.wrong !== (said.outcome === 'refused'))
			yield `answered otherwise: ${named(said)}: ${JSON.stringify(said.reply.response)}`;
		// A message is one transaction: all of it is there or nothing.
		if (here && here < whole) yield `stored by half: ${named(said)}`;
		if (said.outcome === 'refused') continue;
		if (!stored[said.event]) textsOf(said).forEach((text) => texts.add(text));
		steps.add(said.payload.step_id);
		clips.add(said.payload.output_dataclip_id);
	}
	for (const [text, { length }] of rows.lines) {
		if (length > 1) yield `stored ${length} times: ${text}`;
		if (!texts.has(text)) yield `a line that no worker sent: ${text}`;
	}
	for (const step of rows.steps.keys()) if (!steps.has(step)) yield `step ${step}, which no worker started`;
	const finals = load.said.filter(({ event, outcome }) => event === 'run:complete' && outcome !== 'refused');
	const strange = [...rows.clips].filter((clip) => !clips.has(clip)).length;
	if (strange > finals.length) yield `${strange - finals.length} dataclips that no worker sent`;
}

// What was acknowledged was applied once, in the order of the replies. Whatever else the journal has between
// is the claim's, or unknown.
function* disorderOf(rows, load) {
	const replies = load.said.filter(({ event, outcome }) => outcome === 'ok' && stored[event]);
	const expected = new Map();
	for (const { run, event, payload } of replies.sort((a, b) => a.replied - b.replied))
		expected.set(run, [...(expected.get(run) ?? []), `${event} ${payload.step_id ?? 'null'}`]);
	for (const [run, words] of expected) {
		const journal = rows.journal.get(run) ?? [];
		const twice = journal.filter((word, i) => stored[word.split(' ')[0]] && journal.indexOf(word) < i);
		if (twice.length) yield `applied twice in run ${run}: ${twice}`;
		const order = words.map((word) => journal.indexOf(word));
		if (order.some((at, i) => at < (i ? order[i - 1] : 0)))
			yield `out of order in run ${run}: acknowledged ${words}; applied ${journal}`;
	}
}

// All the faults there are, as sentences.
export const faults = async (db, load) => {
	const { project } = load.id;
	const rows = await read(db, project);
	const list = [...faultsOf(rows, load), ...disorderOf(rows, load)];
	for (const [what, text] of Object.entries(contradictions(project)))
		for (const row of await db.query(text)) list.push(`${what}: ${row}`);
	return list;
};

// `coordinators`: those whose metrics are to agree with the journal.
export const check = async (db, load, ...coordinators) => {
	const list = await faults(db, load);
	const of = `${list.length} faults after ${load.said.length} messages`;
	assert.equal(list.length, 0, `${of}:\n${list.slice(0, 20).join('\n')}`);
	for (const coordinator of coordinators) await checkCounts(db, coordinator);
};
