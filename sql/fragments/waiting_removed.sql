waiting_removed AS (
	DELETE FROM waiting w USING updated v
	WHERE v.from_state = 'available' AND w.project_id = v.project_id AND w.workflow_id = v.workflow_id
		AND w.queue = v.queue AND w.priority = v.priority AND w.seq = v.seq
)
