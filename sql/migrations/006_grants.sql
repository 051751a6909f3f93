-- These functions run as their owner, so their callers can make runs in any project: only the daemon's role
-- and those whom the owner grants it.
REVOKE EXECUTE ON FUNCTION interlock_enqueue, interlock_retry, interlock_journal_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION interlock_enqueue, interlock_retry, interlock_journal_partitions TO interlock;
