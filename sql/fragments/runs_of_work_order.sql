SELECT * FROM runs
		WHERE project_id = f.project_id AND work_order_id BETWEEN f.work_order_id AND f.work_order_id
		ORDER BY work_order_id, seq
