-- What is due to be pruned, by project, kind of data and table: rows, and the size of their values. Parameters: those
-- of the statement prune_due.
SELECT p.name AS project, v.what AS data, t.name AS table, t.n AS rows, pg_size_pretty(t.bytes) AS size
FROM projects p
LEFT JOIN unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[]) AS o(project_id, runs_ms, dataclips_ms, logs_ms)
	ON o.project_id = p.id
CROSS JOIN LATERAL (VALUES
	('runs', coalesce(o.runs_ms, $5::bigint)),
	('dataclips', coalesce(o.dataclips_ms, $6::bigint)),
	('logs', coalesce(o.logs_ms, $7::bigint))) v(what, keep_ms)
CROSS JOIN LATERAL (
	SELECT array_agg(d.id) AS ids
	FROM interlock_due(p.id, v.what, v.keep_ms * interval '1 millisecond', 2147483647) d) w
CROSS JOIN LATERAL (
	SELECT array_agg(r.id) AS ids FROM runs r WHERE r.project_id = p.id AND r.work_order_id = ANY (w.ids)) r
CROSS JOIN LATERAL (
	SELECT array_agg(s.id) AS ids FROM steps s WHERE s.project_id = p.id AND s.run_id = ANY (r.ids)) s
CROSS JOIN LATERAL (
	SELECT 'work_orders' AS name, count(*) AS n, sum(pg_column_size(x.*)) AS bytes
	FROM work_orders x
	WHERE x.project_id = p.id AND x.id = ANY (w.ids) AND v.what = 'runs'
	UNION ALL
	SELECT 'runs', count(*), sum(pg_column_size(x.*))
	FROM runs x
	WHERE x.project_id = p.id AND x.id = ANY (r.ids) AND v.what = 'runs'
	UNION ALL
	SELECT 'steps', count(*), sum(pg_column_size(x.*))
	FROM steps x
	WHERE x.project_id = p.id AND x.id = ANY (s.ids) AND v.what = 'runs'
	UNION ALL
	SELECT 'dataclips', count(*), sum(pg_column_size(x.*))
	FROM dataclips x
	WHERE x.project_id = p.id AND x.source_id = ANY (w.ids || r.ids || s.ids)
		AND (v.what = 'runs' OR v.what = 'dataclips' AND x.wiped_at IS NULL)
	UNION ALL
	SELECT 'log_lines', count(*), sum(pg_column_size(x.*))
	FROM log_lines x
	WHERE x.project_id = p.id AND x.run_id = ANY (r.ids) AND v.what IN ('runs', 'logs')) t
WHERE v.keep_ms > 0 AND t.n > 0
ORDER BY p.name, p.id, v.what DESC, t.name
