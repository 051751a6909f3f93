-- Without today's partition nothing can be journaled, so nothing can be stored. Daemons create partitions a week
-- ahead.
WITH days AS (
	SELECT current_date + i AS day, i AS ahead
	FROM generate_series(0, 3) i
), missing AS (
	SELECT min(d.ahead) AS ahead, min(d.day) AS day
	FROM days d
	WHERE NOT EXISTS (
		SELECT
		FROM pg_inherits h
		JOIN pg_class c ON c.oid = h.inhrelid
		WHERE h.inhparent = to_regclass('transitions')
			AND NOT h.inhdetachpending
			AND c.relname = 'transitions_' || to_char(d.day, 'YYYYMMDD')
	)
)
SELECT CASE WHEN ahead = 0 THEN 'fail' ELSE 'warn' END,
	format('the journal has no partition for %s', CASE WHEN ahead = 0 THEN 'today' ELSE day::text END),
	'SELECT interlock_journal_partitions() creates it; a running daemon does so every hour: see its log'
FROM missing
WHERE ahead IS NOT NULL
