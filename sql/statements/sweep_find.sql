-- Which runs are overdue now, or will be within a time, by which clock, and what the janitor does with them. The
-- janitor and `interlock lost` share this statement. Parameters: the time ahead and the join timeout in milliseconds;
-- the clocks to check; what happens to a run that has not started ("lost" or "requeue"), and how many times it may be
-- requeued; when the database's clock last stepped forward, and by how much, in microseconds (runs that were claimed
-- before have that much longer); the maximum number of rows. Each run in flight is looked up by the primary key of
-- runs: a hash join would read all runs, and only the primary key serves BETWEEN and ORDER BY together (another index
-- begins with project_id too, and has the same cost while there are few runs).
-- columns: project_id, work_order_id, id, state, worker_name, clock, overdue, action
WITH setting AS MATERIALIZED (
	SELECT clock_timestamp() + {{scalar ahead_ms bigint}} * interval '1 millisecond' AS at,
		{{include sweep_parameters}}
)
SELECT r.project_id, r.work_order_id, r.id, r.state, r.worker_name, due.clock,
	extract(epoch FROM clock_timestamp() - due.since) AS overdue, due.action
FROM setting
CROSS JOIN in_flight f
CROSS JOIN LATERAL (
	{{run_by_key}}) r
CROSS JOIN LATERAL (
	{{overdue}}
) due
ORDER BY due.since
LIMIT {{scalar most bigint}}
