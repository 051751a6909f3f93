CASE
		WHEN r.state IN ({{from EVENT}}) THEN 'accepted'
		WHEN r.state = 'lost' THEN CASE interlock_late_policy(m.policy, m.window_us, r.finalized_at)
			WHEN 'yield' THEN 'yielded'
			WHEN 'acknowledge' THEN 'too_late'
			ELSE 'already_final' END
		WHEN m.observe THEN 'observed'
		ELSE {{refusal EVENT}}
		END
