-- Runs whose work order may have an input to wipe: those that were lost, once they can no longer be revived because
-- the window for it (in milliseconds; 0: unlimited) is over, or once they have ended otherwise. And, in case `settle`
-- has missed one: of the newest runs those that ended a minute ago, do not save dataclips and still have their input,
-- although no run needs it. The second parameter limits the number of rows.
-- columns: project_id, work_order_id, id
WITH setting AS MATERIALIZED (SELECT {{scalar late_window_ms bigint}} * interval '1 millisecond' AS late_window)
SELECT * FROM (
	SELECT r.project_id, r.work_order_id, r.id
	FROM setting
	CROSS JOIN wipes f
	CROSS JOIN LATERAL (
		{{run_by_key}}) r
	WHERE {{wipe_due}}
	UNION ALL
	SELECT f.project_id, f.work_order_id, f.id
	FROM (SELECT * FROM runs ORDER BY seq DESC LIMIT 10000) f
	CROSS JOIN LATERAL (
		SELECT wiped_at FROM dataclips
		WHERE project_id = f.project_id AND id BETWEEN f.dataclip_id AND f.dataclip_id
		ORDER BY id
		LIMIT 1) d
	CROSS JOIN LATERAL (
		SELECT bool_or({{needs_input}}) AS input_needed
		FROM (
		{{runs_of_work_order}}) r) o
	WHERE NOT f.save_dataclips AND f.finalized_at < clock_timestamp() - interval '1 minute'
		AND d.wiped_at IS NULL AND NOT o.input_needed
) due
LIMIT {{scalar most bigint}}
