-- Registers this coordinator, its late policy and its workers, and removes coordinators that were last seen more than
-- an hour ago. Returns a coordinator of the last minute that has another policy, if there is one.
-- columns: ord, other
WITH input AS (
	SELECT * FROM {{input name text, policy text, started_us bigint, workers text}}
), registered AS (
	INSERT INTO coordinators (name, policy, started_at, seen_at, workers)
	SELECT name, policy, to_timestamp(started_us / 1000000.0), now(), workers FROM input m
	ON CONFLICT (name) DO UPDATE SET
		policy = excluded.policy,
		started_at = excluded.started_at,
		seen_at = excluded.seen_at,
		workers = excluded.workers
), expired AS (
	DELETE FROM coordinators c USING input m
	WHERE c.seen_at < now() - interval '1 hour' AND c.name <> m.name
)
SELECT m.ord, (SELECT c.name FROM coordinators c
	WHERE c.name <> m.name AND c.policy <> m.policy AND c.seen_at > now() - interval '1 minute'
	ORDER BY c.seen_at DESC LIMIT 1) AS other
FROM input m
