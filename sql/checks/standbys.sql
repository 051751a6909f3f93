-- Is what was answered `ok` on a standby too? Backups and logical replication are no standbys. How a standby
-- follows is seen only with pg_read_all_stats.
WITH standby AS MATERIALIZED (
	SELECT r.application_name AS name, r.sync_state
	FROM pg_stat_replication r
	LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid
	WHERE s.slot_type IS DISTINCT FROM 'logical' AND r.state IS DISTINCT FROM 'backup'
)
SELECT 'warn',
	format('none of the standbys (%s) is synchronous: a failover may lose what was answered ok',
		string_agg(name, ', ' ORDER BY name)),
	'ALTER SYSTEM SET synchronous_standby_names = ''ANY 1 (*)''; then SELECT pg_reload_conf(); '
		'interlockd(8), Replication, says what it costs'
FROM standby
HAVING bool_and(sync_state NOT IN ('sync', 'quorum'))
UNION ALL
SELECT 'skipped',
	format('%s connections of standbys cannot be looked into: one that is not synchronous is not found', count(*)),
	format('GRANT pg_read_all_stats TO %I', current_user)
FROM standby
WHERE sync_state IS NULL
HAVING count(*) > 0
