-- Behind the lock of their work orders: looks again which of these lost runs can no longer be revived. They want
-- their input no more, and `settle`, which follows, wipes what nobody wants. The last parameter as in
-- sweep_wipes_find.
WITH p AS MATERIALIZED (SELECT $3::bigint * interval '1 millisecond' AS late_window)
DELETE FROM wipes w
USING p
CROSS JOIN unnest($1::uuid[], $2::uuid[]) AS f(project_id, run_id)
CROSS JOIN LATERAL (
	{{run_by_key}}) r
WHERE w.project_id = ANY (ARRAY[r.project_id]) AND w.run_id = ANY (ARRAY[r.id]) AND {{wipe_due}}
