j.ord, j.verdict, j.state, j.policy,
	CASE WHEN j.verdict NOT IN ('superseded', 'replayed') THEN extract(epoch FROM j.lateness) END AS late,
	j.lost_at
