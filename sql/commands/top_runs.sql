-- interlock top: how many runs are in each state, how many reached it within the last ten seconds, and the age of
-- the oldest waiting run. `sampled` is the daemon's own sample, with its bounds.
SELECT s.state, n.now, coalesce(r.n, 0) AS last_10s, n.oldest
FROM unnest('{available,claimed,started,success,failed,crashed,cancelled,killed,exception,lost}'::text[])
	WITH ORDINALITY AS s(state, ord)
LEFT JOIN (
	SELECT CASE what WHEN 'queue' THEN 'available' ELSE name END AS state, sum(n)::bigint AS now,
		nullif(max(age), 0) AS oldest
	FROM sampled
	GROUP BY 1) n ON n.state = s.state
LEFT JOIN (
	SELECT to_state, count(*) AS n
	FROM transitions
	WHERE at > now() - interval '10 s' AND step_id IS NULL AND from_state IS DISTINCT FROM to_state
		AND outcome IN ('accepted', 'yielded', 'observed', 'revived', 'released', 'requeued')
	GROUP BY 1) r ON r.to_state = s.state
ORDER BY s.ord
