-- Samples the runs for the gauges, every few seconds: by queue how many wait and the age of the oldest, by state how
-- many are in flight. The cost is bounded: the first 20,000 waiting runs are counted, the oldest is looked for in
-- 500 groups (`waiting_group` skips through the primary key), and 4,000 runs in flight are counted.
-- columns: ord, what, name, n, age
WITH RECURSIVE waiting_group AS (
	{{waiting_groups}}
), oldest AS (
	SELECT queue, min(seq) AS seq
	FROM (SELECT * FROM waiting_group LIMIT 500) g
	GROUP BY queue
), depth AS (
	SELECT queue, count(*) AS n
	FROM (SELECT queue FROM waiting LIMIT 20000) counted
	GROUP BY queue
)
SELECT 1 AS ord, 'queue' AS what, d.queue AS name, d.n,
	coalesce((SELECT extract(epoch FROM now() - inserted_at) FROM runs
		WHERE seq = (SELECT seq FROM oldest WHERE queue = d.queue) LIMIT 1), 0) AS age
FROM depth d
UNION ALL
SELECT 1, 'state', v.state, v.n, 0
FROM (
	SELECT count(*) FILTER (WHERE r.state = 'claimed') AS claimed,
		count(*) FILTER (WHERE r.state = 'started') AS started
	FROM (SELECT project_id, run_id FROM in_flight LIMIT 4000) f
	CROSS JOIN LATERAL (	-- as in sweep_find
		{{run_by_key}}) r
) c
CROSS JOIN LATERAL (VALUES ('claimed', c.claimed), ('started', c.started)) v(state, n)
WHERE v.n > 0
