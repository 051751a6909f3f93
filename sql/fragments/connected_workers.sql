SELECT w.worker, c.name AS coordinator, w.address, w.capacity, w.runs,
	extract(epoch FROM now() - c.seen_at) + w.connected AS connected,
	extract(epoch FROM now() - c.seen_at) + w.idle_seconds AS idle
FROM coordinators c
CROSS JOIN json_to_recordset(c.workers::json) AS w(worker text, address text, capacity int, runs int,
	connected numeric, idle_seconds numeric)
