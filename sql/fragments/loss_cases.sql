loss AS MATERIALIZED (
	SELECT t.project_id, t.run_id, t.id, t.at, t.epoch, t.from_state, t.code AS clock, t.lateness AS overdue,
		r.workflow_id, r.requeues, r.claimed_at, f.*
	FROM transitions t
	JOIN runs r ON r.project_id = t.project_id AND r.id = t.run_id
	CROSS JOIN LATERAL json_to_record(interlock_journal_message(t.message)) AS f(active_at timestamptz,
		deadline_at timestamptz, lease_expires_at timestamptz, lease_s numeric, grace_s numeric)
	WHERE t.at > now() - $1::bigint * interval '1 millisecond' AND t.event = 'lost'
		AND ($2::uuid IS NULL OR t.project_id = $2) AND f.deadline_at IS NOT NULL
), loss_case AS MATERIALIZED (	-- what followed: when its worker was active again, and when it reported the result
	SELECT l.*, h.active_again_at, h.completed_at,
		CASE WHEN l.lease_s > 0 THEN l.lease_expires_at - l.lease_s * interval '1 second' END AS renewed_at,
		l.deadline_at - l.grace_s * interval '1 second' AS timeout_at
	FROM loss l
	CROSS JOIN LATERAL (
		SELECT min(t.at) AS active_again_at, min(t.at) FILTER (WHERE t.event = 'run:complete') AS completed_at
		FROM transitions t
		WHERE t.project_id = l.project_id AND t.run_id = l.run_id AND t.id > l.id AND t.epoch = l.epoch
			AND t.event IN ('phx_join', 'run:start', 'step:start', 'step:complete', 'run:complete')
			AND coalesce(t.code, '') <> 'superseded'
			AND t.id < coalesce((SELECT min(n.id) FROM loss n WHERE n.project_id = l.project_id
				AND n.run_id = l.run_id AND n.id > l.id), 9223372036854775807)) h
), pause AS MATERIALIZED (	-- silences that ended before the run was lost
	SELECT b.project_id, r.workflow_id, b.at - (interlock_journal_message(g.message)->>'active_at')::timestamptz AS length
	FROM transitions b
	JOIN runs r ON r.project_id = b.project_id AND r.id = b.run_id
	CROSS JOIN LATERAL (
		SELECT t.message FROM transitions t
		WHERE t.project_id = b.project_id AND t.run_id = b.run_id AND t.id < b.id AND t.event = 'disconnect'
		ORDER BY t.id DESC LIMIT 1) g
	WHERE b.at > now() - $1::bigint * interval '1 millisecond' AND b.event = 'phx_join' AND b.outcome = 'noted'
		AND b.from_state IN ('claimed', 'started') AND ($2::uuid IS NULL OR b.project_id = $2)
)
