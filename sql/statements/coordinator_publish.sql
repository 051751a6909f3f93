-- This coordinator is alive, with this policy and these workers; one that has not been seen for an hour is
-- forgotten. Comes back: another coordinator of the last minute whose policy is a different one, if there is any.
-- columns: ord, other
WITH m AS (
	SELECT * FROM {{input name text, policy text, started_us bigint, workers text}}
), registered AS (
	INSERT INTO coordinators (name, policy, started_at, seen_at, workers)
	SELECT name, policy, to_timestamp(started_us / 1000000.0), now(), workers FROM m
	ON CONFLICT (name) DO UPDATE SET
		policy = excluded.policy,
		started_at = excluded.started_at,
		seen_at = excluded.seen_at,
		workers = excluded.workers
), expired AS (
	DELETE FROM coordinators c USING m
	WHERE c.seen_at < now() - interval '1 hour' AND c.name <> m.name
)
SELECT m.ord, (SELECT c.name FROM coordinators c
	WHERE c.name <> m.name AND c.policy <> m.policy AND c.seen_at > now() - interval '1 minute'
	ORDER BY c.seen_at DESC LIMIT 1) AS other
FROM m
