-- The journal's partitions of which every row is older than so many milliseconds, the oldest first, and those
-- that an earlier prune did not get rid of: `how` is what is still to be done. Only what a prune has marked is
-- dropped once it is detached; an operator may have detached another one to keep it.
SELECT c.oid::regclass AS partition, b.since, b.until, pg_size_pretty(pg_total_relation_size(c.oid)) AS size,
	CASE
	WHEN i.inhrelid IS NULL THEN 'drop'
	WHEN i.inhdetachpending THEN 'finalize'
	ELSE 'detach'
	END AS how
FROM pg_class c
LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND i.inhparent = 'transitions'::regclass
LEFT JOIN LATERAL (
	SELECT m[1]::timestamptz AS since, m[2]::timestamptz AS until
	FROM regexp_match(pg_get_expr(c.relpartbound, c.oid), $$FROM \('([^']+)'\) TO \('([^']+)'\)$$) AS m
) b ON true
WHERE c.relkind = 'r' AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'transitions'::regclass)
	AND CASE
		WHEN i.inhrelid IS NULL OR i.inhdetachpending THEN obj_description(c.oid, 'pg_class') = $2::text
		ELSE b.until <= now() - $1::bigint * interval '1 millisecond'
		END
ORDER BY i.inhrelid IS NOT NULL, i.inhdetachpending DESC, b.since
