SELECT t.id, t.at, t.worker_at, t.lateness, t.policy, m.message, {{state_of_reason}} AS state
	FROM transitions t
	CROSS JOIN LATERAL (SELECT interlock_journal_message(t.message) AS message OFFSET 0) m
	CROSS JOIN LATERAL (SELECT m.message->>'reason' AS reason) w
	WHERE t.project_id = r.project_id AND t.run_id = r.id AND t.event = 'run:complete' AND t.from_state = 'lost'
		AND t.epoch = r.claim_epoch AND (t.outcome = 'too_late' OR t.outcome = 'refused' AND t.code = 'already_final')
	ORDER BY t.id DESC
	LIMIT 1
