journal_entry AS MATERIALIZED (
	SELECT j.project_id, j.run_id, coalesce(v.revision, j.revision) AS revision, j.step_id,
		'{{event}}' AS event, j.state AS from_state, coalesce(v.to_state, j.state) AS to_state,
		CASE WHEN j.verdict IN ({{outcomes}}) THEN j.verdict ELSE 'refused' END AS outcome,
		CASE
			WHEN j.verdict = 'observed' THEN {{refusal}}
			WHEN j.verdict NOT IN ({{outcomes}}) THEN j.verdict
		END AS code,
		CASE WHEN j.state = 'lost' THEN j.policy END AS policy,
		j.worker_name AS worker, j.epoch, j.at AS worker_at, j.lateness,
		CASE
			WHEN j.verdict = 'yielded'
				THEN '{"overturned":' || j.overturned || coalesce(',' || substr(j.noted, 2), '}')
			WHEN j.verdict IN ('accepted', 'implicit', 'replayed') THEN j.noted
			ELSE j.message
		END AS message,
		v.id IS NOT NULL AS changed
	FROM decided j
	LEFT JOIN updated v ON v.project_id = j.project_id AND v.id = j.run_id
	WHERE j.state IS NOT NULL
), {{journaled}}
