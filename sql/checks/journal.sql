-- Without today's partition of the journal nothing can be stored, without that of the log no line. Daemons create
-- partitions a week ahead; their days are UTC's.
WITH days AS (
	SELECT t.parent, t.name, (now() AT TIME ZONE 'UTC')::date + i AS day, i AS ahead
	FROM (VALUES ('transitions', 'the journal'), ('log_lines', 'the log')) t(parent, name), generate_series(0, 3) i
), missing AS (
	SELECT d.name, min(d.ahead) AS ahead, min(d.day) AS day
	FROM days d
	WHERE NOT EXISTS (
		SELECT
		FROM pg_inherits h
		JOIN pg_class c ON c.oid = h.inhrelid
		WHERE h.inhparent = to_regclass(d.parent)
			AND NOT h.inhdetachpending
			AND c.relname = d.parent || to_char(d.day, '_YYYYMMDD')
	)
	GROUP BY d.name
)
SELECT CASE WHEN ahead = 0 THEN 'fail' ELSE 'warn' END,
	format('%s has no partition for %s', name, CASE WHEN ahead = 0 THEN 'today' ELSE day::text END),
	'SELECT interlock_make_partitions() creates it; a running daemon does so every hour: see its log'
FROM missing
ORDER BY name
