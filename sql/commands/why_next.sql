-- What can be done about a run ($1: its project, $2: its id): commands, and what each of them does.
SELECT n.command, n.effect
FROM runs r
LEFT JOIN LATERAL ({{late_result}}) l ON true
LEFT JOIN LATERAL ({{late_decision}}) d ON true
CROSS JOIN LATERAL (VALUES
	(1, r.state = 'lost' AND l.state IS NOT NULL AND coalesce(d.id < l.id, true), format('interlock accept %s', r.id),
		format('The result that came late (%s) becomes the run''s.', l.state)),
	(2, r.state = 'lost' AND l.id IS NOT NULL AND coalesce(d.id < l.id, true), format('interlock discard %s', r.id),
		'The late result is dismissed, and the run stays lost.'),
	(3, r.state IN ('lost', 'failed', 'crashed', 'cancelled', 'killed', 'exception'), format('interlock retry %s', r.id),
		'The work is executed again from the beginning, also what was done already.'),
	(4, r.state = 'available', format('interlock cancel %s', r.id), 'The run is cancelled, unless it is claimed before.'),
	(5, r.state = 'available', 'interlock workers', 'Lists the workers, their capacity and what they have.'),
	(6, r.state IN ('claimed', 'started'), 'interlock lost --within 10m', 'Lists what is lost soon, unless its worker reports.'),
	(7, true, format('interlock run %s', r.id), 'Shows its steps, its log and its whole journal.')
	) AS n(ord, applies, command, effect)
WHERE r.project_id = $1::uuid AND r.id = $2::uuid AND n.applies
ORDER BY n.ord
