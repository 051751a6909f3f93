-- The join of a run's channel: records that the claim was delivered, revives a run that was declared lost although its
-- worker is alive, and reads all that fetch:plan and the scrubbing of logs need, so that neither can fail later (of
-- the credentials, the smallest first, as many as the limits allow; the others are null).
--
-- A worker without the current claim may join all the same (`stale`: its plan will be empty and its messages are
-- ignored), because a refusal would make a busy worker hang for minutes. Its claim has ended, or was part of a
-- history that a failover has lost: such a claim is not known here, and its epoch may be smaller than the run's,
-- equal or larger. So the claims that may not join are listed instead: `unjoined_claims`, which were released
-- before their worker had joined.
-- columns: ord, verdict, state, policy, late, name, body, dataclip_id, starting_id, save_dataclips, options, run_timeout_ms, credentials, over_limit, unplanned, joins
WITH input AS MATERIALIZED (
	SELECT *
	FROM {{input project_id uuid, run_id uuid, epoch int, claim uuid, configured_policy text,
		window_us bigint, lease_us bigint, largest bigint, together bigint}}
), decided AS MATERIALIZED (
	SELECT m.*, l.*, r.state, r.worker_name, r.revision, r.joined_at, r.finalized_at, r.snapshot_id, r.workflow_id,
		r.work_order_id, r.dataclip_id, r.starting_node_id, r.save_dataclips, r.options, r.run_timeout_ms,
		r.joined_at IS NOT NULL AS rejoined,
		CASE
		WHEN m.claim = ANY (r.unjoined_claims) THEN 'superseded'
		WHEN {{same_claim}} IS NOT TRUE THEN 'stale'
		WHEN r.state = 'lost' AND r.deadline_at > clock_timestamp() AND l.policy = 'yield' THEN 'revived'
		ELSE 'joined'
		END AS verdict
	FROM input m
	LEFT JOIN runs r ON r.project_id = m.project_id AND r.id = m.run_id
	CROSS JOIN LATERAL ({{late_policy}}) l
), updated AS (
	UPDATE runs r SET
		joined_at = coalesce(r.joined_at, now()),
		joins = r.joins + 1,
		state = CASE WHEN j.verdict = 'revived' THEN r.lost_from ELSE r.state END,
		lost_from = CASE WHEN j.verdict = 'revived' THEN NULL ELSE r.lost_from END,
		finished_at = CASE WHEN j.verdict = 'revived' THEN NULL ELSE r.finished_at END,
		finalized_at = CASE WHEN j.verdict = 'revived' THEN NULL ELSE r.finalized_at END,
		error_type = CASE WHEN j.verdict = 'revived' THEN NULL ELSE r.error_type END,
		error_message = CASE WHEN j.verdict = 'revived' THEN NULL ELSE r.error_message END,
		active_at = now(),
		lease_expires_at = CASE WHEN j.lease_us > 0
			THEN now() + j.lease_us * interval '1 microsecond' END,
		revision = r.revision + (j.verdict = 'revived')::int
	FROM decided j
	WHERE r.project_id = j.project_id AND r.id = j.run_id
		AND (j.verdict = 'revived' OR j.verdict = 'joined' AND j.state IN ('claimed', 'started'))
	RETURNING r.project_id, r.id, r.workflow_id, r.revision, r.joins, j.state AS from_state, r.state AS to_state
), {{in_flight_added}}, work_orders_running AS (
	UPDATE work_orders o SET state = 'running', last_activity = now()
	FROM decided j
	WHERE j.verdict = 'revived' AND o.project_id = j.project_id AND o.id = j.work_order_id
), steps_reopened AS (
	UPDATE steps s SET exit_reason = NULL, finished_at = NULL
	FROM decided j
	WHERE j.verdict = 'revived' AND s.run_id = ANY (ARRAY[j.run_id])
		AND s.project_id IS NOT DISTINCT FROM j.project_id AND s.exit_reason = 'lost' AND s.finished_at = j.finalized_at
), journal_entry AS MATERIALIZED (	-- a revival; and that a worker has come back
	SELECT j.project_id, j.run_id, coalesce(v.revision, j.revision) AS revision, NULL::uuid AS step_id,
		'phx_join' AS event, j.state AS from_state, coalesce(v.to_state, j.state) AS to_state,
		CASE j.verdict WHEN 'revived' THEN 'revived' ELSE 'noted' END AS outcome, NULL AS code,
		CASE WHEN j.state = 'lost' THEN j.policy END AS policy, j.worker_name AS worker, j.epoch,
		NULL::timestamptz AS worker_at, j.lateness,
		CASE j.verdict WHEN 'revived' THEN '{"overturned":' || j.overturned || '}' END AS message,
		j.verdict = 'revived' AS changed
	FROM decided j
	LEFT JOIN updated v ON v.project_id = j.project_id AND v.id = j.run_id
	WHERE j.verdict = 'revived'
		OR j.verdict = 'joined' AND j.rejoined AND j.state IN ('claimed', 'started', 'lost')
), {{journaled}}
SELECT j.ord, j.verdict, j.state, j.policy,
	CASE WHEN j.verdict = 'revived' THEN extract(epoch FROM j.lateness) END AS late,
	s.name, s.body, j.dataclip_id, coalesce(j.starting_node_id, j.run_id) AS starting_id,
	j.save_dataclips, j.options::text AS options, j.run_timeout_ms,
	(SELECT json_object_agg(c.id, CASE WHEN octet_length(c.body) <= j.largest
			AND c.so_far <= j.together THEN encode(c.body, 'hex') END)
		FROM (SELECT c.id, c.body, sum(octet_length(c.body)) OVER (
				ORDER BY octet_length(c.body), c.id) AS so_far
			FROM (SELECT DISTINCT credential_id FROM snapshot_jobs sj
				WHERE sj.project_id = j.project_id AND sj.snapshot_id = j.snapshot_id) used
			JOIN credentials c ON c.project_id = j.project_id
				AND c.id = used.credential_id) c) AS credentials,
	j.verdict = 'revived' AND EXISTS (SELECT	-- other runs have taken its slot meanwhile
		FROM workflows w
		JOIN projects p ON p.id = w.project_id
		WHERE w.project_id = j.project_id AND w.id = j.workflow_id
			AND (w.concurrency <= (SELECT count(*) FROM in_flight f
					WHERE f.project_id = w.project_id AND f.workflow_id = w.id)
				OR p.concurrency <= (SELECT count(*) FROM in_flight f
					WHERE f.project_id = w.project_id))) AS over_limit,
	CASE WHEN j.verdict = 'joined' AND j.state = 'claimed' AND j.rejoined	-- log lines are what first follows the plan
		THEN NOT interlock_has_logged(j.project_id, j.run_id, j.joined_at)
		ELSE false END AS unplanned,
	v.joins
FROM decided j
LEFT JOIN updated v ON v.project_id = j.project_id AND v.id = j.run_id
LEFT JOIN snapshots s ON s.project_id = j.project_id AND s.id = j.snapshot_id
ORDER BY j.ord
