SELECT t.id, t.at, t.event, interlock_journal_message(t.message)->>'by' AS by
	FROM transitions t
	WHERE t.project_id = r.project_id AND t.run_id = r.id AND t.event IN ('accept', 'discard')
	ORDER BY t.id DESC
	LIMIT 1
