-- At each connect and every hour: makes the partitions of the log and the journal for a week ahead.
-- columns: ord, made
SELECT 1 AS ord, interlock_make_partitions() AS made
