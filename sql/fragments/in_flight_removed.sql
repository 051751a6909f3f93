in_flight_removed AS (
	DELETE FROM in_flight WHERE ctid = ANY (ARRAY(	-- its rows are never updated
		SELECT f.row_id
		FROM updated v
		CROSS JOIN LATERAL (
			SELECT ctid AS row_id FROM in_flight
			WHERE project_id = v.project_id AND workflow_id = v.workflow_id AND run_id = v.id
			LIMIT 1) f))
)
