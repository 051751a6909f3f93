INSERT INTO transitions (project_id, run_id, revision, step_id, event, from_state, to_state,
		outcome, code, policy, worker, epoch, worker_at, lateness, message)
	SELECT j.project_id, j.run_id, coalesce(v.revision, j.revision), j.step_id, 'EVENT',
		j.state, coalesce(v.to_state, j.state),
		CASE WHEN j.verdict IN ({{outcomes}}) THEN j.verdict ELSE 'refused' END,
		CASE
			WHEN j.verdict = 'observed' THEN {{refusal EVENT}}
			WHEN j.verdict NOT IN ({{outcomes}}) THEN j.verdict
		END,
		CASE WHEN j.state = 'lost' THEN j.policy END,
		j.worker_name, j.epoch, j.at, j.lateness,
		CASE
			WHEN j.verdict = 'yielded'
				THEN '{"overturned":' || j.overturned || coalesce(',' || substr(j.noted, 2), '}')
			WHEN j.verdict IN ('accepted', 'implicit', 'replayed') THEN j.noted
			ELSE j.message
		END
	FROM judged j
	LEFT JOIN moved v ON v.project_id = j.project_id AND v.id = j.run_id
	WHERE j.state IS NOT NULL
