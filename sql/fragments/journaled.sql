counted AS (
	INSERT INTO journal_counts AS c (project_id, run_id, event, outcome, code, revision, state)
	SELECT project_id, run_id, event, outcome, coalesce(code, ''), revision, to_state
	FROM journal_entry
	WHERE NOT changed
	ON CONFLICT (project_id, run_id, event, outcome, code) DO UPDATE SET
		n = c.n + 1, revision = excluded.revision, state = excluded.state, at = excluded.at
	RETURNING project_id, run_id, n
), journal AS (
	INSERT INTO transitions (project_id, run_id, revision, step_id, event, from_state, to_state,
		outcome, code, policy, worker, epoch, worker_at, lateness, message)
	SELECT d.project_id, d.run_id, d.revision, d.step_id, d.event, d.from_state, d.to_state,
		d.outcome, d.code, d.policy, d.worker, d.epoch, d.worker_at, d.lateness, d.message
	FROM journal_entry d
	LEFT JOIN counted c ON c.project_id = d.project_id AND c.run_id = d.run_id
	WHERE d.changed OR c.n <= {{journal_rows}}
)
