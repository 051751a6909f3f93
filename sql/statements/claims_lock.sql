-- Serializes claims. It is a separate statement, because one that both locks and counts would count in a snapshot
-- older than the lock, and exceed the limits.
-- columns: pg_advisory_xact_lock
SELECT pg_advisory_xact_lock(hashtext('interlock claims'))
