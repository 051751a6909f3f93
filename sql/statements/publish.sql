-- This coordinator is alive, with this policy and these workers; what has not been seen for a minute is
-- forgotten. Comes back: another coordinator whose policy is a different one, if there is any.
WITH me AS (
	INSERT INTO coordinators (name, policy, started_at)
	VALUES ($7::text, $8::text, to_timestamp($9::bigint / 1000000.0))
	ON CONFLICT (name) DO UPDATE SET policy = excluded.policy, started_at = excluded.started_at,
		seen_at = now()
	RETURNING name
), forgotten AS (
	DELETE FROM coordinators WHERE seen_at < now() - interval '1 minute' AND name <> $7::text
), here AS (
	SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::int[], $5::int[], $6::bigint[])
		AS w(socket, worker_id, address, capacity, runs, connected_us)
), gone AS (
	DELETE FROM workers w
	WHERE w.coordinator = $7::text AND NOT EXISTS (SELECT FROM here h WHERE h.socket = w.socket)
), kept AS (
	INSERT INTO workers (coordinator, socket, worker_id, address, capacity, runs, connected_at, heard_at)
	SELECT me.name, socket, worker_id, address, capacity, runs,
		to_timestamp(connected_us / 1000000.0), now()
	FROM here, me
	ON CONFLICT (coordinator, socket) DO UPDATE SET worker_id = excluded.worker_id,
		address = excluded.address, capacity = excluded.capacity, runs = excluded.runs,
		connected_at = excluded.connected_at, heard_at = excluded.heard_at
)
SELECT 1 AS ord, (SELECT c.name FROM coordinators c
	WHERE c.name <> $7::text AND c.policy <> $8::text AND c.seen_at > now() - interval '1 minute' LIMIT 1)
