-- run:start. `at` is the worker's timestamp, or the time of receipt if the message has none. A run that a
-- step:start has started still accepts its first run:start. Without the lock on the work order, the state
-- that is checked could be older than the row that is updated.
-- columns: {{reply_columns}}
WITH input AS MATERIALIZED (
	SELECT *
	FROM {{input project_id uuid, run_id uuid, epoch int, claim uuid, configured_policy text,
		window_us bigint, observe boolean, message text, noted text, at timestamptz,
		versions text}}
), precheck AS MATERIALIZED (
	SELECT m.*, l.*, NULL::uuid AS step_id, r.state, r.lost_from, r.started_by_step, r.worker_name,
		r.revision,
		CASE
		WHEN {{same_claim}} IS NOT TRUE THEN 'superseded'
		WHEN r.started_at = m.at AND NOT r.started_by_step AND r.state IN ('started', 'lost')
			AND (m.versions IS NULL OR r.versions = m.versions) THEN 'replayed'
		WHEN r.started_by_step AND r.state = 'started' THEN 'accepted'
		ELSE {{decide run:start}}
		END AS prechecked
	FROM input m
	LEFT JOIN runs r ON r.project_id = m.project_id AND r.id = m.run_id
	CROSS JOIN LATERAL ({{late_policy}}) l
), decided AS MATERIALIZED (
	SELECT s.*, v.verdict, c.changed, c.changed AS revised,
		CASE WHEN c.changed AND v.verdict <> 'yielded' THEN 'started' ELSE s.state END AS to_state
	FROM precheck s
	CROSS JOIN LATERAL (SELECT CASE
		WHEN s.prechecked = 'yielded' AND s.lost_from = 'started' AND NOT s.started_by_step THEN 'already_started'
		ELSE s.prechecked
		END AS verdict) v
	CROSS JOIN LATERAL (SELECT v.verdict IN ('accepted', 'yielded')
		OR v.verdict = 'observed' AND s.state = 'available' AS changed) c
), updated AS (
	UPDATE runs r SET
		state = j.to_state,
		lost_from = CASE WHEN j.verdict = 'yielded' THEN 'started' END,
		claimed_at = coalesce(r.claimed_at, now()),
		started_at = j.at,
		started_by_step = false,
		versions = j.versions,
		deadline_at = CASE WHEN j.state = 'claimed'
			THEN r.deadline_at - r.claimed_at + now() ELSE r.deadline_at END,
		revision = r.revision + 1
	FROM decided j
	WHERE r.project_id = j.project_id AND r.id = j.run_id AND j.changed
	RETURNING r.project_id, r.id, r.workflow_id, r.queue, r.priority, r.seq,
		j.state AS from_state, j.to_state
), {{waiting_removed}}, {{in_flight_added}}, {{journal run:start}}
SELECT {{reply_columns}}
FROM decided j
ORDER BY ord
