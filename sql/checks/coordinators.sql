-- Is there one, do all of them have the same late policy, and is any session connected that would
-- take what waits? Each says every ten seconds that it is there.
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
	'none has been seen within the last minute',
	'start interlockd; if it runs, its log says why it is not ready'
WHERE NOT EXISTS (SELECT FROM live)
UNION ALL
SELECT 'fail',
	'late policies differ between ' || string_agg(names, ' and by ' ORDER BY names),
	'give all of them the same options in [transitions], [lost] and [project …], and reload them'
FROM policies
HAVING count(*) > 1
UNION ALL
SELECT 'warn',
	'runs wait, and no worker is connected',
	'start a worker, or see in its log why it is not let on'
WHERE EXISTS (SELECT FROM live) AND EXISTS (SELECT FROM waiting)
	AND NOT EXISTS (SELECT FROM live WHERE json_array_length(workers) > 0)
