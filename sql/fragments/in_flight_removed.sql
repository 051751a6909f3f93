in_flight_removed AS (
	DELETE FROM in_flight f USING updated v
	WHERE f.project_id = ANY (ARRAY[v.project_id]) AND f.workflow_id = ANY (ARRAY[v.workflow_id])
		AND f.run_id = ANY (ARRAY[v.id])
)
