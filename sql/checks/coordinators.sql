-- Is a coordinator running, do all have the same late policy, and is a worker connected for the waiting runs?
-- Each coordinator updates its row every ten seconds.
WITH live AS MATERIALIZED (
	SELECT name, policy, workers::json AS workers
	FROM coordinators
	WHERE seen_at > now() - interval '1 minute'
), policies AS (
	SELECT policy, string_agg(name, ', ' ORDER BY name) AS names
	FROM live
	GROUP BY policy
)
SELECT 'warn',
	'no coordinator has been active within the last minute',
	'start interlockd; if it is running, see in its log why it is not ready'
WHERE NOT EXISTS (SELECT FROM live)
UNION ALL
SELECT 'fail',
	'late policies differ: ' || string_agg(names, ' versus ' ORDER BY names),
	'set the same options in [transitions], [lost] and [project …] on all of them, and reload'
FROM policies
HAVING count(*) > 1
UNION ALL
SELECT 'warn',
	'runs are waiting, but no worker is connected',
	'start a worker, or see in its log why it cannot connect'
WHERE EXISTS (SELECT FROM live) AND EXISTS (SELECT FROM waiting)
	AND NOT EXISTS (SELECT FROM live WHERE json_array_length(workers) > 0)
