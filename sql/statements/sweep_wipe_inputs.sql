-- With the work orders locked, checks again which of these lost runs can no longer be revived and so no longer
-- need their input. `settle`, which follows, wipes what no run needs. The last parameter is that of
-- sweep_wipes_find.
WITH setting AS MATERIALIZED (SELECT {{scalar late_window_ms bigint}} * interval '1 millisecond' AS late_window)
DELETE FROM wipes w
USING setting
CROSS JOIN {{rows f project_id uuid, run_id uuid}}
CROSS JOIN LATERAL (
	{{run_by_key}}) r
WHERE w.project_id = ANY (ARRAY[r.project_id]) AND w.run_id = ANY (ARRAY[r.id]) AND {{wipe_due}}
