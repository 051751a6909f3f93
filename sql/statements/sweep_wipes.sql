-- Inputs of lost runs that do not save dataclips, once the window in which they may be revived is over (in
-- milliseconds; 0: never), or the run has become final otherwise.
WITH over AS (
	DELETE FROM wipes w USING runs r
	WHERE r.project_id = w.project_id AND r.id = w.run_id AND r.finalized_at IS NOT NULL
		AND (r.state <> 'lost' OR $1::bigint > 0
			AND r.finalized_at < clock_timestamp() - $1::bigint * interval '1 millisecond')
	RETURNING r.project_id, r.id, r.work_order_id, r.dataclip_id
)
UPDATE dataclips d SET body = NULL, request = NULL, wiped_at = now()
FROM over v
WHERE d.project_id = v.project_id AND d.id = v.dataclip_id AND d.wiped_at IS NULL
	AND NOT EXISTS (SELECT FROM runs o	-- a retry may still want it
		WHERE o.project_id = v.project_id AND o.work_order_id = v.work_order_id
			AND o.id <> v.id AND o.state IN ('available', 'claimed', 'started'))
