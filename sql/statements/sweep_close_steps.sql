-- Closes steps of the last day that are open although their run has been final for longer than the grace period (in
-- milliseconds). The other statements leave none open; this is a safeguard.
-- columns: id
UPDATE steps s SET exit_reason = 'lost', finished_at = clock_timestamp()
WHERE (s.project_id, s.id) IN (
	SELECT f.project_id, f.id
	FROM steps f
	CROSS JOIN LATERAL (
		{{run_by_key}}) r
	WHERE f.inserted_at > now() - interval '1 day' AND f.exit_reason IS NULL
		AND r.finalized_at < clock_timestamp() - {{scalar grace_ms bigint}} * interval '1 millisecond'
	LIMIT 500)
	AND s.exit_reason IS NULL
RETURNING s.id
