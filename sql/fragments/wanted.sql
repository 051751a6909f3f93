r.state IN ('available', 'claimed', 'started') OR r.state = 'lost'
		AND EXISTS (SELECT FROM wipes p WHERE p.project_id = r.project_id AND p.run_id = r.id)
