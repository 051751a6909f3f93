-- Is a standby synchronous, so that a failover loses no acknowledged commit? Backups and logical replication do not
-- count. The state of standbys is visible only with pg_read_all_stats.
WITH standby AS MATERIALIZED (
	SELECT r.application_name AS name, r.sync_state
	FROM pg_stat_replication r
	LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid
	WHERE s.slot_type IS DISTINCT FROM 'logical' AND r.state IS DISTINCT FROM 'backup'
)
SELECT 'warn',
	format('no standby (%s) is synchronous: a failover may lose acknowledged commits',
		string_agg(name, ', ' ORDER BY name)),
	'ALTER SYSTEM SET synchronous_standby_names = ''ANY 1 (*)''; then SELECT pg_reload_conf(); '
		'see REPLICATION in interlockd(8) for the cost'
FROM standby
HAVING bool_and(sync_state NOT IN ('sync', 'quorum'))
UNION ALL
SELECT 'skipped',
	format('cannot see the state of %s standby connections, and whether one is synchronous', count(*)),
	format('GRANT pg_read_all_stats TO %I', current_user)
FROM standby
WHERE sync_state IS NULL
HAVING count(*) > 0
