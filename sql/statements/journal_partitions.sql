-- At each connect and every hour: makes the journal's partitions for a week ahead.
-- columns: ord, made
SELECT 1 AS ord, interlock_journal_partitions() AS made
