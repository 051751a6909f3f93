-- interlock top: the busiest workers.
{{connected_workers}}
WHERE c.seen_at > now() - interval '1 minute'
ORDER BY w.runs DESC, w.connected DESC
LIMIT 8
