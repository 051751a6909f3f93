-- step:start: inserts the step. A claimed run becomes started (its run:start will arrive later); nothing
-- else of it is updated.
-- On a lost run with policy `yield`, the step is closed as lost until its step:complete. The same step id with
-- other content, or of another run, is a conflict, also within one batch and with a concurrent one.
-- columns: {{reply_columns}}, input_missing
WITH input AS MATERIALIZED (
	SELECT *, row_number() OVER (PARTITION BY project_id, step_id ORDER BY ord) AS nth
	FROM {{input project_id uuid, run_id uuid, epoch int, claim uuid, configured_policy text,
		window_us bigint, observe boolean, message text, noted text, at timestamptz,
		at_given boolean, step_id uuid, job_id uuid, input_id uuid, input_given boolean,
		credential_id uuid}}
), precheck AS MATERIALIZED (
	SELECT m.*, l.*, r.state, r.snapshot_id, r.worker_name, r.revision, r.lost_from, r.finalized_at,
		d.id AS input_known, j.credential_id AS job_credential,
		CASE
		WHEN {{same_claim}} IS NOT TRUE THEN 'superseded'
		WHEN s.run_id = m.run_id AND s.job_id = m.job_id
			AND (s.started_at = m.at OR NOT m.at_given)
			AND s.input_dataclip_id IS NOT DISTINCT FROM d.id THEN 'replayed'
		WHEN s.id IS NOT NULL OR m.nth > 1 THEN 'conflict'
		ELSE {{decide step:start}}
		END AS prechecked,
		j.job_id IS NOT NULL AS job_known
	FROM input m
	LEFT JOIN runs r ON r.project_id = m.project_id AND r.id = m.run_id
	LEFT JOIN snapshot_jobs j ON j.project_id = r.project_id AND j.snapshot_id = r.snapshot_id
		AND j.job_id = m.job_id
	LEFT JOIN dataclips d ON d.project_id = m.project_id AND d.id = m.input_id
	LEFT JOIN steps s ON s.project_id = m.project_id AND s.id = m.step_id
	CROSS JOIN LATERAL ({{late_policy}}) l
), step_added AS (
	INSERT INTO steps (project_id, id, run_id, snapshot_id, job_id, credential_id, input_dataclip_id,
		started_at, exit_reason, finished_at)
	SELECT project_id, step_id, run_id, snapshot_id, job_id,
		CASE WHEN credential_id = job_credential THEN credential_id END, input_known, at,
		CASE WHEN prechecked = 'yielded' THEN 'lost' END,
		CASE WHEN prechecked = 'yielded' THEN finalized_at END
	FROM precheck
	WHERE prechecked IN ('accepted', 'yielded') AND job_known
	ON CONFLICT DO NOTHING
	RETURNING project_id, id
), decided AS MATERIALIZED (
	SELECT s.*, v.verdict, c.changed, c.changed AND s.state = 'claimed' AS revised,
		CASE WHEN c.changed AND s.state = 'claimed' THEN 'started' ELSE s.state END AS to_state
	FROM precheck s
	LEFT JOIN step_added d ON d.project_id = s.project_id AND d.id = s.step_id
	CROSS JOIN LATERAL (SELECT CASE
		WHEN s.prechecked NOT IN ('accepted', 'yielded') THEN s.prechecked
		WHEN NOT s.job_known THEN 'does_not_exist'
		WHEN d.id IS NULL THEN 'conflict'
		ELSE s.prechecked
		END AS verdict) v
	CROSS JOIN LATERAL (SELECT v.verdict IN ('accepted', 'yielded') AS changed) c
), updated AS (
	UPDATE runs r SET
		state = j.to_state,
		started_at = coalesce(r.started_at, j.at),
		started_by_step = r.started_by_step OR r.started_at IS NULL,
		lost_from = CASE WHEN r.lost_from IS NOT NULL THEN 'started' END,
		deadline_at = CASE WHEN j.state = 'claimed'
			THEN r.deadline_at - r.claimed_at + now() ELSE r.deadline_at END,
		revision = r.revision + j.revised::int
	FROM decided j
	WHERE r.project_id = j.project_id AND r.id = j.run_id AND j.changed
		AND (j.state = 'claimed' OR j.lost_from = 'claimed')
), {{journal step:start}}
SELECT {{reply_columns}}, j.input_given AND j.input_known IS NULL AS input_missing
FROM decided j
ORDER BY ord
