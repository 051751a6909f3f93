j.ord, j.verdict, j.state, j.policy,
	CASE WHEN j.state = 'lost' THEN extract(epoch FROM clock_timestamp() - j.finalized_at) END AS late,
	CASE WHEN j.state = 'lost' THEN to_char(j.finalized_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') END AS lost_at
