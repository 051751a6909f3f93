SELECT id, at, event, from_state, to_state, outcome, code, NULL::bigint AS more, policy, worker, epoch, coordinator,
		worker_at, lateness, message
	FROM transitions
	WHERE project_id = $1::uuid AND run_id = $2::uuid
	UNION ALL
	SELECT 9223372036854775807, at, event, state, state, outcome, nullif(code, ''), n - {{journal_rows}},
		NULL, NULL, NULL, NULL, NULL, NULL, NULL
	FROM journal_counts
	WHERE project_id = $1 AND run_id = $2 AND n > {{journal_rows}}
