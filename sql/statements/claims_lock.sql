-- Claims are serialized, in a statement of its own: a count in the same statement would see a snapshot
-- older than the lock, and admit too many.
-- columns: pg_advisory_xact_lock
SELECT pg_advisory_xact_lock(hashtext('interlock claims'))
