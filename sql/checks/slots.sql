-- An inactive replication slot retains WAL forever, and with an xmin also dead rows.
SELECT 'warn',
	format('the replication slot %s is inactive and retains %s%s', slot_name,
		coalesce(pg_size_pretty(pg_wal_lsn_diff(
			CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END,
			restart_lsn)) || ' of WAL', 'no WAL yet'),
		CASE WHEN coalesce(xmin, catalog_xmin) IS NOT NULL THEN ', and blocks vacuum' ELSE '' END),
	format('start its consumer, or SELECT pg_drop_replication_slot(%L)', slot_name)
FROM pg_replication_slots
WHERE NOT active
