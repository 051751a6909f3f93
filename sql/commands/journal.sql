-- The journal of one run, or the newest rows of all. Parameters, each NULL for any: the run's project, the run, an
-- outcome or the group `late`, the milliseconds to look back; then the maximum number of rows, and whether to
-- return the messages. `late`: messages for a lost run from the worker that still had its claim. Messages that changed
-- nothing have rows only for the first few of a kind; one more row has in `more` how many followed, and when the last.
SELECT at, run_id, revision, event, from_state, to_state, outcome, code, more, policy, worker, epoch, coordinator,
	extract(epoch FROM lateness) AS lateness, step_id,
	CASE WHEN $6::boolean THEN message END AS message, {{journal_sentence}} AS what
FROM (
	SELECT *
	FROM (
		SELECT project_id, run_id, revision, id, at, event, from_state, to_state, outcome, code,
			NULL::bigint AS more, policy, worker, epoch, coordinator, lateness, step_id, message
		FROM transitions
		UNION ALL
		SELECT project_id, run_id, revision, 9223372036854775807, at, event, state, state, outcome,
			nullif(code, ''), n - {{journal_rows}}, NULL, NULL, NULL, NULL, NULL, NULL, NULL
		FROM journal_counts
		WHERE n > {{journal_rows}}
	) j
	WHERE ($1::uuid IS NULL OR project_id = $1)
		AND ($2::uuid IS NULL OR run_id = $2)
		AND ($3::text IS NULL OR outcome = $3 OR $3 = 'late' AND from_state = 'lost'
			AND (outcome IN ('yielded', 'too_late', 'revived')
				OR outcome = 'refused' AND code <> 'superseded'))
		AND ($4::bigint IS NULL OR at > now() - $4 * interval '1 millisecond')
	ORDER BY CASE WHEN $2 IS NULL THEN at END DESC, revision DESC, id DESC, at DESC
	LIMIT $5::int
) j
ORDER BY CASE WHEN $2 IS NULL THEN at END, revision, id, at
