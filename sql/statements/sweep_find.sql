-- Which runs the janitor would take now, or within a time, by which clock and what would become of them. The
-- janitor and `interlock lost --dry-run` ask by this same statement. Parameters: the time ahead and
-- the join timeout in milliseconds, whether leases are judged, what happens to a run that has not started
-- ("lost" or "requeue"), how often it may be given back, the most rows.
WITH p AS MATERIALIZED (
	SELECT clock_timestamp() + $1::bigint * interval '1 millisecond' AS at,
		$2::bigint * interval '1 millisecond' AS join_timeout,
		$3::boolean AS leases, $4::text AS after_claim, $5::int AS max_requeues
)
SELECT r.project_id, r.work_order_id, r.id, r.state, r.worker_name, due.fate, due.clock,
	extract(epoch FROM clock_timestamp() - due.since) AS overdue,
	extract(epoch FROM clock_timestamp()) AS clock_now
FROM p
CROSS JOIN in_flight f
JOIN runs r ON r.project_id = f.project_id AND r.id = f.run_id
CROSS JOIN LATERAL (
	{{overdue}}
) due
ORDER BY due.since
LIMIT $6::bigint
