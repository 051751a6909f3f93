-- Of the tables that grow: how large they are, and how old the oldest row is (of the log and the journal, by the day of
-- the oldest partition that has any).
-- columns: name, bytes, oldest
WITH part AS MATERIALIZED (
	SELECT i.inhparent, i.inhrelid, right(c.relname, 8) AS day
	FROM pg_inherits i
	JOIN pg_class c ON c.oid = i.inhrelid
	WHERE i.inhparent IN ('log_lines'::regclass, 'transitions'::regclass) AND c.relname ~ '_[0-9]{8}$'
)
SELECT t.name,
	pg_total_relation_size(t.name::regclass) + coalesce(p.bytes, 0) AS bytes,
	CASE WHEN t.name = 'runs' THEN (SELECT extract(epoch FROM now() - inserted_at) FROM runs ORDER BY seq LIMIT 1)
		ELSE extract(epoch FROM now() - to_date(p.oldest, 'YYYYMMDD')::timestamptz) END AS oldest
FROM (VALUES ('work_orders'), ('runs'), ('steps'), ('dataclips'), ('idempotency_keys'), ('log_lines'), ('transitions')) t(name)
CROSS JOIN LATERAL (
	SELECT sum(pg_total_relation_size(inhrelid))::bigint AS bytes,
		min(day) FILTER (WHERE pg_relation_size(inhrelid) > 0) AS oldest
	FROM part
	WHERE inhparent = t.name::regclass) p
