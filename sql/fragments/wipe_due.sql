r.finalized_at IS NOT NULL AND (r.state <> 'lost'
		OR setting.late_window > '0' AND r.finalized_at < clock_timestamp() - setting.late_window)
