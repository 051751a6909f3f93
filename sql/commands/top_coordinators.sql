-- interlock top: the running coordinators, with their workers and late policies.
SELECT c.name AS coordinator, count(w.worker) AS workers, coalesce(sum(w.runs), 0)::bigint AS runs,
	coalesce(sum(w.capacity), 0)::bigint AS capacity, extract(epoch FROM now() - c.started_at) AS uptime,
	extract(epoch FROM now() - c.seen_at) AS last_seen, left(c.policy, 8) AS policy
FROM coordinators c
LEFT JOIN json_to_recordset(c.workers::json) AS w(worker text, capacity int, runs int) ON true
WHERE c.seen_at > now() - interval '1 minute'
GROUP BY c.name, c.policy, c.started_at, c.seen_at
ORDER BY c.name
