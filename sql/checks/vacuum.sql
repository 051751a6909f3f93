-- The hot tables need frequent vacuuming: every run inserts and deletes rows of the narrow ones.
WITH hot AS (
	SELECT c.oid, c.relname, c.reloptions
	FROM pg_class c
	WHERE c.oid IN (to_regclass('runs'), to_regclass('work_orders'), to_regclass('steps'),
		to_regclass('waiting'), to_regclass('in_flight'), to_regclass('turns'))
)
SELECT 'fail',
	format('autovacuum is switched off for %s', h.relname),
	format('ALTER TABLE %I RESET (autovacuum_enabled)', h.relname)
FROM hot h, pg_options_to_table(h.reloptions) o
WHERE o.option_name = 'autovacuum_enabled' AND NOT o.option_value::boolean
UNION ALL
SELECT 'warn',
	format('%s has %s dead rows and %s live ones, last vacuum %s', s.relname, s.n_dead_tup,
		s.n_live_tup, coalesce(date_trunc('second', greatest(s.last_autovacuum, s.last_vacuum))::text, 'never')),
	format('VACUUM %I; if they remain, an old transaction or a replication slot blocks it (see the checks above)', s.relname)
FROM hot h
JOIN pg_stat_all_tables s ON s.relid = h.oid
WHERE s.n_dead_tup > 20000 AND s.n_dead_tup > 2 * s.n_live_tup
