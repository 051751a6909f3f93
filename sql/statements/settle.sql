-- The last statement of a batch in which a run may have changed class: the state of its work order
-- follows from all its runs, as they are visible now. The newest run is the last inserted. A message that
-- was refused writes nothing here.
UPDATE work_orders w SET
	state = x.state,
	last_activity = clock_timestamp()
FROM (
	SELECT t.project_id, t.id, max(r.finalized_at) AS finalized_at,
		CASE
		WHEN bool_or(r.state IN ('claimed', 'started')) THEN 'running'
		WHEN bool_or(r.state = 'available') THEN 'pending'
		ELSE (array_agg(r.state ORDER BY r.seq DESC))[1]
		END AS state
	FROM (SELECT DISTINCT * FROM unnest($1::uuid[], $2::uuid[])) AS t(project_id, id)
	JOIN runs r ON r.project_id = t.project_id AND r.work_order_id = t.id
	GROUP BY t.project_id, t.id
) x
WHERE w.project_id = x.project_id AND w.id = x.id
	AND (w.state <> x.state OR w.last_activity < x.finalized_at)
