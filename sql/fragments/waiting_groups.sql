(SELECT project_id, workflow_id, queue, priority, seq FROM waiting
	ORDER BY project_id, workflow_id, queue, priority, seq LIMIT 1)
	UNION ALL
	SELECT n.* FROM waiting_group g CROSS JOIN LATERAL (
		SELECT w.project_id, w.workflow_id, w.queue, w.priority, w.seq FROM waiting w
		WHERE (w.project_id, w.workflow_id, w.queue, w.priority)
			> (g.project_id, g.workflow_id, g.queue, g.priority)
		ORDER BY w.project_id, w.workflow_id, w.queue, w.priority, w.seq LIMIT 1) n
