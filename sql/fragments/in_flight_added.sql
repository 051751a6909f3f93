in_flight_added AS (
	INSERT INTO in_flight (project_id, workflow_id, run_id)
	SELECT project_id, workflow_id, id FROM updated
	WHERE from_state NOT IN ('claimed', 'started') AND to_state IN ('claimed', 'started')
	ON CONFLICT DO NOTHING
)
