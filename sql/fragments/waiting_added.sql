waiting_added AS (
	INSERT INTO waiting (project_id, workflow_id, queue, priority, seq, run_id)
	SELECT project_id, workflow_id, queue, priority, seq, id FROM updated WHERE to_state = 'available'
)
