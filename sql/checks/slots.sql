-- An unused replication slot keeps the log forever, and if it has an xmin dead rows too.
SELECT 'warn',
	format('the replication slot %s is not in use and holds back %s%s', slot_name,
		coalesce(pg_size_pretty(pg_wal_lsn_diff(
			CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END,
			restart_lsn)) || ' of log', 'nothing yet'),
		CASE WHEN coalesce(xmin, catalog_xmin) IS NOT NULL THEN ', and vacuum' ELSE '' END),
	format('bring its reader back, or SELECT pg_drop_replication_slot(%L)', slot_name)
FROM pg_replication_slots
WHERE NOT active
