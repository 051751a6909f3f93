SELECT
		CASE WHEN r.state = 'lost' THEN interlock_late_policy(m.configured_policy, m.window_us, r.finalized_at, clock_timestamp())
			ELSE m.configured_policy END AS policy,
		CASE WHEN r.state = 'lost' THEN clock_timestamp() - r.finalized_at END AS lateness,
		CASE WHEN r.state = 'lost' THEN
			to_char(r.finalized_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') END AS lost_at,
		CASE WHEN r.state = 'lost' THEN json_build_object('lost_from', r.lost_from,
			'error_type', r.error_type, 'lost_at', r.finalized_at)::text END AS overturned
