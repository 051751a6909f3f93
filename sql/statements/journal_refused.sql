-- A message that is refused whatever the run's state, because a field or the payload is malformed. The claim is
-- still checked first, and the refusal is journaled.
-- columns: {{reply_columns}}
WITH input AS MATERIALIZED (
	SELECT *
	FROM {{input project_id uuid, run_id uuid, epoch int, claim uuid, configured_policy text,
		window_us bigint, event text, code text, message text}}
), decided AS MATERIALIZED (
	SELECT m.*, l.*, r.state, r.worker_name, r.revision,
		CASE WHEN {{same_claim}} IS NOT TRUE THEN 'superseded' ELSE m.code END AS verdict
	FROM input m
	LEFT JOIN runs r ON r.project_id = m.project_id AND r.id = m.run_id
	CROSS JOIN LATERAL ({{late_policy}}) l
), journal_entry AS MATERIALIZED (
	SELECT project_id, run_id, revision, NULL::uuid AS step_id, event, state AS from_state,
		state AS to_state, 'refused' AS outcome, verdict AS code,
		CASE WHEN state = 'lost' THEN policy END AS policy, worker_name AS worker, epoch,
		NULL::timestamptz AS worker_at, lateness, message, false AS changed
	FROM decided
	WHERE state IS NOT NULL
), {{journaled}}
SELECT {{reply_columns}}
FROM decided j
ORDER BY ord
