-- Asked at each connect and every hour: the journal's partitions are there a week ahead.
-- columns: ord, made
SELECT 1 AS ord, interlock_journal_partitions() AS made
