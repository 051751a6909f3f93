-- An old transaction keeps vacuum from removing the dead rows of claims. Other roles' sessions are visible only with
-- pg_read_all_stats.
SELECT 'warn',
	format('process %s (%s, %s) has been in one transaction for %s: %s', pid, usename,
		coalesce(nullif(application_name, ''), 'no name'), date_trunc('second', now() - xact_start), state),
	format('end it, or SELECT pg_terminate_backend(%s); set idle_in_transaction_session_timeout to prevent it', pid)
FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
	AND xact_start < now() - current_setting('interlock.old')::interval
UNION ALL
SELECT 'skipped',
	format('cannot see %s sessions of other roles, nor old transactions in them', count(*)),
	format('GRANT pg_read_all_stats TO %I', current_user)
FROM pg_stat_activity
WHERE datname = current_database() AND NOT pg_has_role(usesysid, 'usage')
	AND NOT pg_has_role('pg_read_all_stats', 'usage')
HAVING count(*) > 0
UNION ALL
SELECT 'warn',
	format('the prepared transaction %s of %s has been open for %s', quote_literal(gid), owner,
		date_trunc('second', now() - prepared)),
	format('COMMIT PREPARED %L or ROLLBACK PREPARED %L, in database %I', gid, gid, database)
FROM pg_prepared_xacts
WHERE prepared < now() - current_setting('interlock.old')::interval
