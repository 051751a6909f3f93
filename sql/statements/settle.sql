-- The last statement of a batch in which runs may have changed their state: derives the state of their work
-- orders from all their runs, as they are visible now. The newest run is the last inserted. A message that
-- was refused changes nothing here. It also wipes the inputs of runs that do not save dataclips, once no run
-- of the work order is unfinished or may be revived; a statement that ended two such runs at once could not do it,
-- since it would see each as a reason to keep the input of the other. As in the claim, only one plan is possible:
-- runs are looked up for each work order, and only an index can serve = ANY (ARRAY[…]).
WITH settled AS MATERIALIZED (
	SELECT f.project_id, f.work_order_id AS id, a.*
	FROM (SELECT DISTINCT * FROM {{rows f project_id uuid, work_order_id uuid}}) AS f
	CROSS JOIN LATERAL (
		SELECT max(r.finalized_at) AS finalized_at,
			CASE
			WHEN bool_or(r.state IN ('claimed', 'started')) THEN 'running'
			WHEN bool_or(r.state = 'available') THEN 'pending'
			ELSE (array_agg(r.state ORDER BY r.seq DESC))[1]
			END AS state,
			bool_or({{needs_input}}) AS input_needed,
			array_agg(DISTINCT r.dataclip_id) FILTER (WHERE NOT r.save_dataclips) AS inputs
		FROM (
		{{runs_of_work_order}}) r) a
), unneeded_input AS MATERIALIZED (
	SELECT s.project_id, i.id FROM settled s CROSS JOIN LATERAL unnest(s.inputs) AS i(id) WHERE NOT s.input_needed
), wiped AS (
	UPDATE dataclips d SET body = NULL, request = NULL, wiped_at = now()
	FROM unneeded_input u
	WHERE d.project_id = ANY (ARRAY[u.project_id]) AND d.id = ANY (ARRAY[u.id]) AND d.wiped_at IS NULL
)
UPDATE work_orders w SET
	state = s.state,
	last_activity = clock_timestamp()
FROM settled s
WHERE w.project_id = ANY (ARRAY[s.project_id]) AND w.id = ANY (ARRAY[s.id])
	AND (w.state <> s.state OR w.last_activity < s.finalized_at)
