UPDATE dataclips d SET body = NULL, request = NULL, wiped_at = now()
	FROM moved v
	WHERE NOT v.save_dataclips AND d.project_id = v.project_id AND d.id = v.dataclip_id
		AND d.wiped_at IS NULL
		AND NOT EXISTS (SELECT FROM runs o	-- a retry may still want it
			WHERE o.project_id = v.project_id AND o.work_order_id = v.work_order_id
				AND o.id <> v.id AND o.state IN ('available', 'claimed', 'started'))
