-- The losses of a time, decided again under other options, by the conditions of the janitor's and the messages' own
-- statements. Parameters: the milliseconds to look back; a project, or NULL; the lease (0: off) and the grace in
-- milliseconds; the late window in microseconds; the policy, and those of single projects as a JSON object; what happens
-- to a run that has not started, and how often it is requeued. A row for each workflow, the sum last: `avoided`: losses
-- that would not have been, since the worker was active again, and reported in time; `dead`: of the others, those whose
-- worker never came back, and how much later they would be noticed; `counted`, `kept`: those whose late result would
-- count, or only be kept; `open`: those whose worker came back, and has not reported a result; `new`: silences that
-- would have been losses.
WITH {{loss_cases}}, decided AS MATERIALIZED (
	SELECT c.*, coalesce(d.since, later.since) IS NOT NULL AS is_due, coalesce(d.action, later.action) AS action,
		coalesce(d.since, later.since) + c.overdue AS lost_at
	FROM loss_case c
	CROSS JOIN LATERAL (
		SELECT c.from_state AS state, c.claimed_at, c.at AS joined_at, c.requeues,
			CASE WHEN $3::bigint > 0 THEN c.renewed_at + $3 * interval '1 millisecond' END AS lease_expires_at,
			c.timeout_at + $4::bigint * interval '1 millisecond' AS deadline_at) r
	LEFT JOIN LATERAL (	-- was it overdue when its worker was active again?
		SELECT due.*
		FROM (SELECT coalesce(c.active_again_at, 'infinity') AS at, interval '0' AS join_timeout, ARRAY['lease', 'deadline'] AS clocks,
			$8::text AS after_claim, $9::int AS max_requeues, 'infinity'::timestamptz AS clock_stepped_at,
			interval '0' AS jump) setting
		CROSS JOIN LATERAL (
			{{overdue}}
		) due) d ON true
	LEFT JOIN LATERAL (	-- and if not, when it reported the result, or still has not?
		SELECT due.*
		FROM (SELECT coalesce(c.completed_at, now()) AS at, interval '0' AS join_timeout, ARRAY['deadline'] AS clocks,
			$8::text AS after_claim, $9::int AS max_requeues, 'infinity'::timestamptz AS clock_stepped_at,
			interval '0' AS jump) setting
		CROSS JOIN LATERAL (
			{{overdue}}
		) due) later ON d.since IS NULL
), judged AS (
	SELECT d.project_id, d.workflow_id, d.is_due, d.action = 'requeued' AS requeued, d.active_again_at, d.completed_at,
		greatest(d.lost_at - d.at, '0') AS later, interlock_late_policy(coalesce($7::json->>d.project_id::text, $6::text),
			$5::bigint, d.lost_at, d.completed_at) AS policy
	FROM decided d
), verdict AS (
	SELECT project_id, workflow_id, 1 AS losses,
		CASE
		WHEN NOT is_due THEN 'avoided'
		WHEN requeued THEN 'requeued'
		WHEN active_again_at IS NULL THEN 'dead'
		WHEN completed_at IS NULL THEN 'open'
		WHEN policy = 'yield' THEN 'counted'
		ELSE 'kept'
		END AS what, later
	FROM judged
	UNION ALL
	SELECT project_id, workflow_id, 0, 'new', NULL FROM pause WHERE $3 > 0 AND length > $3 * interval '1 millisecond'
)
SELECT CASE GROUPING(v.workflow_id) WHEN 0 THEN max(p.name) END AS project,
	CASE GROUPING(v.workflow_id) WHEN 0 THEN max(w.name) ELSE 'all' END AS workflow,
	coalesce(sum(losses), 0) AS lost, count(*) FILTER (WHERE what = 'avoided') AS avoided,
	count(*) FILTER (WHERE what = 'requeued') AS requeued, count(*) FILTER (WHERE what = 'counted') AS counted,
	count(*) FILTER (WHERE what = 'kept') AS kept, count(*) FILTER (WHERE what = 'open') AS open,
	count(*) FILTER (WHERE what = 'dead') AS dead, count(*) FILTER (WHERE what = 'new') AS new,
	extract(epoch FROM avg(later) FILTER (WHERE what = 'dead')) AS later,
	extract(epoch FROM sum(later) FILTER (WHERE what = 'dead')) AS held
FROM verdict v
JOIN projects p ON p.id = v.project_id
JOIN workflows w ON w.project_id = v.project_id AND w.id = v.workflow_id
GROUP BY GROUPING SETS ((v.project_id, v.workflow_id), ())
ORDER BY GROUPING(v.workflow_id), max(p.name), max(w.name)
