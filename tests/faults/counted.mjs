// Compares what a coordinator counted with what it wrote into the journal: each late, superseded, repeated
// or refused message is counted when its result arrives, whether or not its worker is there to be answered.
// What was sent again after a commit whose answer was lost was journaled twice and counted once. Of what changes
// nothing the journal has the first few of a kind and run; the rest is in journal_counts, at whichever coordinator it arrived.

import assert from 'node:assert/strict';

const EVENTS = "('phx_join', 'run:start', 'run:complete', 'step:start', 'step:complete')";
const SERIES = /^interlock_message_outcomes_total\{event="([^"]*)",outcome="([^"]*)",policy="[^"]*"\} (\d+)$/gm;

const inMetrics = async ({ address }) => {
	const text = await (await fetch(`http://${address}/metrics`)).text();
	const counts = {};
	for (const [, event, outcome, n] of text.matchAll(SERIES)) {
		// Of a join the journal has only what it changed.
		if (event === 'phx_join' && outcome !== 'revived') continue;
		const key = `${event} ${outcome}`;
		counts[key] = (counts[key] ?? 0) + Number(n);
	}
	return counts;
};

const inJournal = async (db, { name }) => {
	const rows = await db.query(`SELECT event, coalesce(nullif(code, '') , outcome), count(*) FROM (
			SELECT event, CASE WHEN outcome = 'refused' THEN code END AS code, outcome FROM transitions
			WHERE coordinator = '${name}' AND event IN ${EVENTS} AND outcome <> 'accepted') t
		GROUP BY 1, 2`);
	return Object.fromEntries(rows.map(([event, outcome, n]) => [`${event} ${outcome}`, Number(n)]));
};

// Of a coordinator that has lived as long as its name, and at which nothing is under way.
export const checkCounts = async (db, coordinator) => {
	const [counted, journal] = [await inMetrics(coordinator), await inJournal(db, coordinator)];
	const said = `counted ${JSON.stringify(counted)}\njournal ${JSON.stringify(journal)}`;
	let missing = 0;
	for (const key of new Set([...Object.keys(counted), ...Object.keys(journal)])) {
		const difference = (journal[key] ?? 0) - (counted[key] ?? 0);
		assert.ok(difference >= 0, `${key} was counted more often than journaled\n${said}`);
		missing += difference;
	}
	const resent = await coordinator.metric('interlock_resent_messages_total');
	assert.ok(missing <= resent, `${missing} not counted, and ${resent} sent again\n${said}`);
};
