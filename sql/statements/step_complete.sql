-- step:complete. The step must belong to the channel's run; if its id is unused and the message names a job of
-- the snapshot, the step is inserted and completed at once (its step:start was lost). A dataclip that is not saved
-- (`body` NULL with a `clip_id`) gets a row without a body, so that later references to it are valid. `stored`: the
-- body is in dataclips already (dataclip_body). The output for a lost run is stored even if the message is not applied:
-- the journal has its id.
-- columns: {{reply_columns}}
WITH input AS MATERIALIZED (
	SELECT *, row_number() OVER (PARTITION BY project_id, clip_id ORDER BY ord) AS nth_clip,
		row_number() OVER (PARTITION BY project_id, step_id ORDER BY ord) AS nth_step
	FROM {{input project_id uuid, run_id uuid, epoch int, claim uuid, configured_policy text,
		window_us bigint, observe boolean, message text, noted text, at timestamptz,
		at_given boolean, step_id uuid, job_id uuid, reason text, error_type text,
		error_message text, clip_id uuid, body text, stored boolean}}
), precheck AS MATERIALIZED (
	SELECT m.*, l.*, r.state, r.snapshot_id, r.worker_name, r.revision, r.save_dataclips,
		s.id IS NULL AND m.nth_step = 1 AND j.job_id IS NOT NULL AS new_step,
		CASE
		WHEN {{same_claim}} IS NOT TRUE THEN 'superseded'
		WHEN s.run_id = m.run_id AND s.exit_reason = m.reason
			AND s.error_type IS NOT DISTINCT FROM m.error_type
			AND s.output_dataclip_id IS NOT DISTINCT FROM m.clip_id
			AND (m.error_message IS NULL OR s.error_message = m.error_message)
			AND (m.body IS NULL OR d.body IS NULL OR d.body = m.body)
			AND (s.finished_at = m.at OR NOT m.at_given) THEN 'replayed'
		WHEN s.run_id = m.run_id AND s.exit_reason <> 'lost' THEN 'conflict'
		WHEN r.state IN ({{from step:complete}}, 'lost') AND s.run_id IS DISTINCT FROM m.run_id
			AND (s.id IS NOT NULL OR m.nth_step > 1 OR j.job_id IS NULL) THEN 'not_found'
		ELSE {{decide step:complete}}
		END AS prechecked,
		d.id IS NOT NULL AS clip_known,
		m.clip_id IS NOT NULL AND (m.nth_clip > 1 OR d.id IS NOT NULL
			AND (d.source_id IS DISTINCT FROM m.step_id OR coalesce(d.body <> m.body, false))) AS clip_conflict
	FROM input m
	LEFT JOIN runs r ON r.project_id = m.project_id AND r.id = m.run_id
	LEFT JOIN steps s ON s.project_id = m.project_id AND s.id = m.step_id
	LEFT JOIN LATERAL (	-- only of a step that is not known
		SELECT job_id FROM snapshot_jobs
		WHERE s.id IS NULL AND project_id = r.project_id AND snapshot_id = r.snapshot_id AND job_id = m.job_id
		LIMIT 1) j ON true
	LEFT JOIN dataclips d ON d.project_id = m.project_id AND d.id = m.clip_id
	CROSS JOIN LATERAL ({{late_policy}}) l
), dataclip_added AS (
	INSERT INTO dataclips (project_id, id, type, body, source_id, wiped_at)
	SELECT project_id, clip_id, 'step_result',
		CASE WHEN save_dataclips THEN body END, step_id,
		CASE WHEN body IS NULL OR NOT save_dataclips THEN now() END
	FROM precheck
	WHERE clip_id IS NOT NULL AND NOT clip_conflict
		AND (prechecked IN ('accepted', 'yielded')
			OR state = 'lost' AND prechecked IN ('too_late', 'already_final')
				AND body IS NOT NULL AND save_dataclips)
	ON CONFLICT DO NOTHING
	RETURNING project_id, id
), step_added AS (
	INSERT INTO steps (project_id, id, run_id, snapshot_id, job_id, exit_reason, error_type, error_message,
		output_dataclip_id, finished_at)
	SELECT project_id, step_id, run_id, snapshot_id, job_id, reason, error_type, error_message, clip_id, at
	FROM precheck
	WHERE prechecked IN ('accepted', 'yielded') AND new_step AND NOT clip_conflict
	ON CONFLICT DO NOTHING
	RETURNING project_id, id
), decided AS MATERIALIZED (
	SELECT s.*, v.verdict, v.verdict IN ('accepted', 'yielded', 'implicit') AS changed, false AS revised,
		s.state AS to_state
	FROM precheck s
	LEFT JOIN dataclip_added c ON c.project_id = s.project_id AND c.id = s.clip_id
	LEFT JOIN step_added d ON d.project_id = s.project_id AND d.id = s.step_id
	CROSS JOIN LATERAL (SELECT CASE
		WHEN s.prechecked NOT IN ('accepted', 'yielded') THEN s.prechecked
		WHEN s.clip_conflict OR s.clip_id IS NOT NULL AND NOT s.stored AND NOT s.clip_known AND c.id IS NULL
			THEN 'taken'
		WHEN s.new_step AND d.id IS NULL THEN 'not_found'
		WHEN s.new_step AND s.prechecked = 'accepted' THEN 'implicit'
		ELSE s.prechecked
		END AS verdict) v
), step_completed AS (
	UPDATE steps s SET exit_reason = j.reason, error_type = j.error_type, error_message = j.error_message,
		finished_at = j.at, output_dataclip_id = j.clip_id
	FROM decided j
	WHERE s.project_id = j.project_id AND s.id = j.step_id
		AND j.verdict IN ('accepted', 'yielded') AND NOT j.new_step
), {{journal step:complete}}
SELECT {{reply_columns}}
FROM decided j
ORDER BY ord
