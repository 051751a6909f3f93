-- Drops the oldest partition of the log or the journal, if all of it is older than so many milliseconds: its name, or
-- NULL.
-- columns: dropped
SELECT interlock_drop_partition({{scalar parent text}}, {{scalar keep_ms bigint}} * interval '1 millisecond') AS dropped
