r.state IN ('available', 'claimed', 'started') OR r.state = 'lost'
		AND EXISTS (SELECT FROM wipes w WHERE w.project_id = r.project_id AND w.run_id = r.id)
