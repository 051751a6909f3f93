-- The database's clock, in microseconds since 1970.
-- columns: now_us
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now_us
