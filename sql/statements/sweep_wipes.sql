-- Inputs of lost runs that do not save dataclips, once the window in which they may be revived is over (in
-- milliseconds; 0: never), or the run has become final otherwise.
WITH moved AS (
	DELETE FROM wipes w USING runs r
	WHERE r.project_id = w.project_id AND r.id = w.run_id AND r.finalized_at IS NOT NULL
		AND (r.state <> 'lost' OR $1::bigint > 0
			AND r.finalized_at < clock_timestamp() - $1::bigint * interval '1 millisecond')
	RETURNING r.project_id, r.id, r.work_order_id, r.dataclip_id, r.save_dataclips
)
{{wipe}}
