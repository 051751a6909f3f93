SELECT c.clock, c.since,
		CASE
		WHEN c.clock = 'join' THEN 'released'
		WHEN r.state = 'claimed' AND setting.after_claim = 'requeue' AND r.requeues < setting.max_requeues
			THEN 'requeued'
		ELSE 'lost'
		END AS action
	FROM (VALUES
		('join', CASE WHEN r.state IN ({{from release}}) AND r.joined_at IS NULL
			THEN r.claimed_at + setting.join_timeout END),
		('lease', r.lease_expires_at),
		('deadline', r.deadline_at + CASE WHEN r.claimed_at < setting.clock_stepped_at THEN setting.jump ELSE '0' END))
		AS c(clock, since)
	WHERE r.state IN ({{from lost}}) AND c.since <= setting.at
		AND c.clock = ANY (setting.clocks)
	ORDER BY c.since
	LIMIT 1
