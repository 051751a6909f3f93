-- What the pruner finds to do: for each project what is due there, and for how many seconds the oldest of it has been.
-- Parameters: the periods of projects that have their own, and of all others, in milliseconds; 0: not at all.
-- columns: project_id, what, keep_ms, behind
SELECT p.id AS project_id, v.what, v.keep_ms, extract(epoch FROM now() - d.since) - v.keep_ms / 1000.0 AS behind
FROM projects p
LEFT JOIN {{rows o project_id uuid, runs_ms bigint, dataclips_ms bigint, logs_ms bigint}} ON o.project_id = p.id
CROSS JOIN LATERAL (VALUES
	('runs', coalesce(o.runs_ms, {{scalar other_runs_ms bigint}})),
	('dataclips', coalesce(o.dataclips_ms, {{scalar other_dataclips_ms bigint}})),
	('logs', coalesce(o.logs_ms, {{scalar other_logs_ms bigint}}))) v(what, keep_ms)
CROSS JOIN LATERAL (
	SELECT min(since) AS since
	FROM interlock_due(p.id, v.what, v.keep_ms * interval '1 millisecond', 1)) d
WHERE v.keep_ms > 0 AND d.since IS NOT NULL
