journal_entry AS MATERIALIZED (
	SELECT j.project_id, j.run_id, j.revision + j.revised::int AS revision, j.step_id,
		'{{event}}' AS event, j.state AS from_state, j.to_state,
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
		j.changed
	FROM decided j
	WHERE j.state IS NOT NULL
), {{journaled}}
