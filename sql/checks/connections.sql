-- Are there enough connections for another coordinator, as during an upgrade?
WITH room AS (
	SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
			- (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS server,
		CASE WHEN d.datconnlimit >= 0 THEN d.datconnlimit
			- (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()) END AS base,
		CASE WHEN r.rolconnlimit >= 0 THEN r.rolconnlimit
			- (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user) END AS role
	FROM pg_database d, pg_roles r
	WHERE d.datname = current_database() AND r.rolname = current_user
)
SELECT 'warn',
	format('%s connections are free, but a coordinator needs %s',
		greatest(least(server, base, role), 0), current_setting('interlock.connections')),
	'raise max_connections (or the CONNECTION LIMIT of the database or role), or lower [database] writers'
FROM room
WHERE least(server, base, role) < current_setting('interlock.connections')::int
