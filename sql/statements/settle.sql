-- The last statement of a batch in which a run may have changed class: the state of its work order
-- follows from all its runs, as they are visible now. The newest run is the last inserted. A message that
-- was refused writes nothing here. What also follows is that inputs of runs that do not save dataclips are
-- wiped, once no run of the work order is open or may be revived: a statement that ends two of them at once
-- would see each as the other's reason to keep it. As in the
-- claim, there is one way to execute it: runs are looked up order by order, and = ANY (ARRAY[…]) is for an index
-- only.
WITH x AS MATERIALIZED (
	SELECT t.project_id, t.id, a.*
	FROM (SELECT DISTINCT * FROM {{rows m project_id uuid, id uuid}}) AS t
	CROSS JOIN LATERAL (
		SELECT max(r.finalized_at) AS finalized_at,
			CASE
			WHEN bool_or(r.state IN ('claimed', 'started')) THEN 'running'
			WHEN bool_or(r.state = 'available') THEN 'pending'
			ELSE (array_agg(r.state ORDER BY r.seq DESC))[1]
			END AS state,
			bool_or({{wanted}}) AS wanted,
			array_agg(DISTINCT r.dataclip_id) FILTER (WHERE NOT r.save_dataclips) AS inputs
		FROM runs r
		WHERE r.project_id = t.project_id AND r.work_order_id = t.id) a
), unwanted AS MATERIALIZED (
	SELECT x.project_id, i.id FROM x CROSS JOIN LATERAL unnest(x.inputs) AS i(id) WHERE NOT x.wanted
), wiped AS (
	UPDATE dataclips d SET body = NULL, request = NULL, wiped_at = now()
	FROM unwanted u
	WHERE d.project_id = ANY (ARRAY[u.project_id]) AND d.id = ANY (ARRAY[u.id]) AND d.wiped_at IS NULL
)
UPDATE work_orders w SET
	state = x.state,
	last_activity = clock_timestamp()
FROM x
WHERE w.project_id = ANY (ARRAY[x.project_id]) AND w.id = ANY (ARRAY[x.id])
	AND (w.state <> x.state OR w.last_activity < x.finalized_at)
