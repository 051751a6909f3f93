-- Settings with which acknowledged commits may be lost, or with which everything becomes slow.
WITH unsafe(name, bad, status, why) AS (VALUES
	('fsync', 'off', 'fail', 'a crash of the machine may destroy the database'),
	('full_page_writes', 'off', 'fail', 'a crash of the machine may leave torn pages'),
	('synchronous_commit', 'off', 'fail', 'ok is replied before the commit is durable, and a crash may undo it'),
	('synchronous_commit', 'local', 'warn', 'commits do not wait for a standby, and a failover may lose them'),
	('autovacuum', 'off', 'fail', 'dead rows are never removed, and claims become slow'),
	('track_counts', 'off', 'fail', 'autovacuum does not know what to vacuum')
)
SELECT h.status,
	format('%s is %s: %s', h.name, h.bad, h.why),
	CASE s.source
		WHEN 'database' THEN format('ALTER DATABASE %I RESET %s', current_database(), h.name)
		WHEN 'user' THEN format('ALTER ROLE %I RESET %s', current_user, h.name)
		WHEN 'database user' THEN format('ALTER ROLE %I IN DATABASE %I RESET %s',
			current_user, current_database(), h.name)
		ELSE format('ALTER SYSTEM SET %s = on; then SELECT pg_reload_conf()', h.name)
	END
FROM unsafe h
JOIN pg_settings s ON s.name = h.name AND s.setting = h.bad
