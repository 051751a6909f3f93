-- With the work orders locked, checks again which of these runs are overdue, and declares them lost or makes them
-- available. A run whose worker was active meanwhile is not changed. Parameters: the runs; the time at which they must
-- be overdue, by the database's clock in microseconds; then those of sweep_find; then the lease and the grace in force,
-- in milliseconds, which only the journal has, for `interlock policy --what-if`. As there and in the claim, only one
-- plan is possible: lookups have a LIMIT or OFFSET, and only an index can serve = ANY (ARRAY[…]).
-- columns: id, state, worker_name, clock, overdue, action, silent
WITH setting AS MATERIALIZED (
	SELECT to_timestamp({{scalar at_us bigint}} / 1000000.0) AS at,
		{{include sweep_parameters}}
), decided AS MATERIALIZED (
	SELECT r.project_id, r.id, r.seq, r.state, r.worker_name, r.claim_epoch, r.active_at, r.deadline_at,
		r.lease_expires_at, due.action, due.clock,
		due.since, now_at.at, now_at.at - due.since AS overdue
	FROM setting
	CROSS JOIN {{rows f project_id uuid, run_id uuid}}
	CROSS JOIN LATERAL (
		{{run_by_key}}) r
	CROSS JOIN LATERAL (
		{{overdue}}
	) due
	CROSS JOIN LATERAL (SELECT clock_timestamp() AS at OFFSET 0) now_at
), updated AS (
	UPDATE runs r SET
		state = CASE WHEN j.action = 'lost' THEN 'lost' ELSE 'available' END,
		lost_from = CASE WHEN j.action = 'lost' THEN r.state END,
		error_type = CASE
			WHEN j.action <> 'lost' THEN r.error_type
			WHEN r.state = 'claimed' THEN 'LostAfterClaim'
			ELSE 'LostAfterStart' END,
		error_message = CASE WHEN j.action = 'lost' THEN {{loss}} ELSE r.error_message END,
		lost_at = CASE WHEN j.action = 'lost' THEN j.at ELSE r.lost_at END,
		finished_at = CASE WHEN j.action = 'lost' THEN j.at END,
		finalized_at = CASE WHEN j.action = 'lost' THEN j.at END,
		claimed_at = CASE WHEN j.action = 'lost' THEN r.claimed_at END,
		joined_at = CASE WHEN j.action = 'lost' THEN r.joined_at END,
		worker_name = CASE WHEN j.action = 'lost' THEN r.worker_name END,
		deadline_at = CASE WHEN j.action = 'lost' THEN r.deadline_at END,
		lease_expires_at = CASE WHEN j.action = 'lost' THEN r.lease_expires_at END,
		claim_epoch = r.claim_epoch + (j.action <> 'lost')::int,
		claim_id = CASE WHEN j.action = 'lost' THEN r.claim_id END,
		unjoined_claims = CASE WHEN j.action = 'lost' THEN r.unjoined_claims ELSE {{unjoined_claims}} END,
		requeues = r.requeues + (j.action = 'requeued')::int,
		revision = r.revision + 1
	FROM decided j
	WHERE r.seq = ANY (ARRAY[j.seq]) AND r.state = j.state
	RETURNING r.project_id, r.id, r.workflow_id, r.queue, r.priority, r.seq, r.revision,
		j.state AS from_state, r.state AS to_state, r.save_dataclips, r.finalized_at
), {{in_flight_removed}}, {{waiting_added}}, steps_closed AS (
	UPDATE steps s SET exit_reason = 'lost', finished_at = v.finalized_at
	FROM updated v
	WHERE v.to_state = 'lost' AND s.run_id = ANY (ARRAY[v.id])
		AND s.project_id IS NOT DISTINCT FROM v.project_id AND s.exit_reason IS NULL
), wipe_scheduled AS (
	INSERT INTO wipes (project_id, run_id)
	SELECT project_id, id FROM updated WHERE to_state = 'lost' AND NOT save_dataclips
	ON CONFLICT DO NOTHING
), journal AS (
	INSERT INTO transitions (project_id, run_id, revision, event, from_state, to_state, outcome,
		code, worker, epoch, lateness, message)
	SELECT j.project_id, j.id, v.revision,
		CASE j.action WHEN 'released' THEN 'release' WHEN 'requeued' THEN 'requeue' ELSE 'lost' END,
		v.from_state, v.to_state, CASE WHEN j.action = 'lost' THEN 'accepted' ELSE j.action END,
		j.clock, j.worker_name, j.claim_epoch, j.overdue,
		json_build_object('expired_at', j.since, 'active_at', j.active_at, 'deadline_at', j.deadline_at,
			'lease_expires_at', j.lease_expires_at, 'lease_s', {{scalar lease_ms bigint}} / 1000.0,
			'grace_s', {{scalar grace_ms bigint}} / 1000.0)::text
	FROM decided j
	JOIN updated v ON v.project_id = j.project_id AND v.id = j.id
)
SELECT j.id, j.state, j.worker_name, j.clock, extract(epoch FROM j.overdue) AS overdue, j.action,
	extract(epoch FROM j.at - j.active_at) AS silent
FROM decided j
JOIN updated v ON v.project_id = j.project_id AND v.id = j.id
