-- The connected workers: each coordinator stores its own every ten seconds. $1: also those that stopped coordinators
-- reported last.
{{connected_workers}}
WHERE c.seen_at > now() - interval '1 minute' OR $1::boolean
ORDER BY c.name, w.worker, w.connected
