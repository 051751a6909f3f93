SELECT * FROM runs
		WHERE project_id = f.project_id AND id BETWEEN f.run_id AND f.run_id
		ORDER BY id
		LIMIT 1
