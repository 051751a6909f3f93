-- Settings with which an answered `ok` may be lost, or with which everything becomes slow.
WITH hurts(name, bad, status, why) AS (VALUES
	('fsync', 'off', 'fail', 'a crash of the machine may destroy the database'),
	('full_page_writes', 'off', 'fail', 'a crash of the machine may leave torn pages'),
	('synchronous_commit', 'off', 'fail', 'an ok is sent before it is durable, and a crash takes it back'),
	('synchronous_commit', 'local', 'warn', 'no standby is waited for, and a failover may lose what was answered ok'),
	('autovacuum', 'off', 'fail', 'what waits and what is in flight is never cleaned, and claims become slow'),
	('track_counts', 'off', 'fail', 'autovacuum does not know where there is anything to clean')
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
FROM hurts h
JOIN pg_settings s ON s.name = h.name AND s.setting = h.bad
