-- Which runs the janitor would take now, or within a time, by which clock, and what would become of them. The
-- janitor and `interlock lost` ask by this same statement. Parameters: the time ahead and the join timeout in
-- milliseconds; the clocks by which runs are judged; what becomes of a run that has not started ("lost" or "requeue"),
-- and how often; when the database's clock last stepped forward, and by how much, in microseconds (what was
-- claimed before has that much longer); the most rows. Each run in flight is looked up by the key of runs, and in
-- no other way: a hash would be made of all runs, and only the key's order serves BETWEEN and ORDER BY (another
-- index begins with project_id too, and looks as good while there are few).
-- columns: project_id, work_order_id, id, state, worker_name, clock, overdue, action
WITH p AS MATERIALIZED (
	SELECT clock_timestamp() + {{scalar ahead_ms bigint}} * interval '1 millisecond' AS at,
		{{scalar join_timeout_ms bigint}} * interval '1 millisecond' AS join_timeout,
		string_to_array({{scalar clocks text}}, ' ') AS clocks, {{scalar after_claim text}} AS after_claim, {{scalar max_requeues int}} AS max_requeues,
		to_timestamp({{scalar clock_stepped_us bigint}} / 1000000.0) AS clock_stepped_at, {{scalar jump_us bigint}} * interval '1 microsecond' AS jump
)
SELECT r.project_id, r.work_order_id, r.id, r.state, r.worker_name, due.clock,
	extract(epoch FROM clock_timestamp() - due.since) AS overdue, due.action
FROM p
CROSS JOIN in_flight f
CROSS JOIN LATERAL (
	{{run_by_key}}) r
CROSS JOIN LATERAL (
	{{overdue}}
) due
ORDER BY due.since
LIMIT {{scalar most bigint}}
