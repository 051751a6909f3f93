CASE
		WHEN r.state IN ({{from}}) THEN 'accepted'
		WHEN r.state = 'lost' THEN CASE l.policy
			WHEN 'yield' THEN 'yielded'
			WHEN 'acknowledge' THEN 'too_late'
			ELSE 'already_final' END
		WHEN m.observe THEN 'observed'
		ELSE {{refusal}}
		END
