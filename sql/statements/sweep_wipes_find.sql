-- Runs whose work order may have an input to wipe: those that were lost, once the window in which they may be
-- revived is over (in milliseconds; 0: never) or they have ended otherwise; and, as a net below `settle`, those of
-- the newest that have ended for a minute, do not save dataclips and have their input still, although nobody
-- wants it. The second parameter is the most rows.
-- columns: project_id, work_order_id, id
WITH p AS MATERIALIZED (SELECT {{scalar late_window_ms bigint}} * interval '1 millisecond' AS late_window)
SELECT * FROM (
	SELECT r.project_id, r.work_order_id, r.id
	FROM p
	CROSS JOIN wipes f
	CROSS JOIN LATERAL (
		{{run_by_key}}) r
	WHERE {{wipe_due}}
	UNION ALL
	SELECT n.project_id, n.work_order_id, n.id
	FROM (SELECT * FROM runs ORDER BY seq DESC LIMIT 10000) n
	CROSS JOIN LATERAL (
		SELECT wiped_at FROM dataclips
		WHERE project_id = n.project_id AND id BETWEEN n.dataclip_id AND n.dataclip_id
		ORDER BY id
		LIMIT 1) d
	CROSS JOIN LATERAL (
		SELECT bool_or({{wanted}}) AS wanted
		FROM runs r
		WHERE r.project_id = n.project_id AND r.work_order_id = n.work_order_id) o
	WHERE NOT n.save_dataclips AND n.finalized_at < clock_timestamp() - interval '1 minute'
		AND d.wiped_at IS NULL AND NOT o.wanted
) x
LIMIT {{scalar most bigint}}
