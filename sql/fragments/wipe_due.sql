r.finalized_at IS NOT NULL AND (r.state <> 'lost'
		OR p.late_window > '0' AND r.finalized_at < clock_timestamp() - p.late_window)
