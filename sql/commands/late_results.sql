-- Lost runs with a late result that is kept and about which no operator has decided, the oldest first. Parameters, the
-- later ones NULL for any: the milliseconds to look back for the loss; the workflow, the project.
SELECT r.project_id, r.id, l.state
FROM (
	SELECT DISTINCT project_id, run_id FROM transitions
	WHERE at > now() - $1::bigint * interval '1 millisecond'
		AND event = 'run:complete' AND from_state = 'lost' AND outcome IN ('too_late', 'refused')
) t
JOIN runs r ON r.project_id = t.project_id AND r.id = t.run_id
CROSS JOIN LATERAL ({{late_result}}) l
LEFT JOIN LATERAL ({{late_decision}}) d ON true
WHERE r.state = 'lost' AND r.lost_at > now() - $1 * interval '1 millisecond'
	AND ($2::uuid IS NULL OR r.workflow_id = $2) AND ($3::uuid IS NULL OR r.project_id = $3)
	AND coalesce(d.id < l.id, true)
ORDER BY r.lost_at, r.id
