-- Who is connected where: each coordinator says so every ten seconds. $1: also what was said last by coordinators
-- that are not there any more.
{{connected_workers}}
WHERE c.seen_at > now() - interval '1 minute' OR $1::boolean
ORDER BY c.name, w.worker, w.connected
