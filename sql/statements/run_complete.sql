-- run:complete: completes the run, stores its final dataclip, closes its open steps and removes it from in_flight.
-- `clip_id`: the worker's final_dataclip_id; `state_id`: the id that final_state gets if it is stored (made at
-- receipt, so that a repetition is recognised); `final_state`: its text, or NULL; `stored`: the text is in dataclips
-- already (dataclip_body); `noted`: there was a text that could not be stored.
-- columns: {{reply_columns}}, clip_missing
WITH input AS MATERIALIZED (
	SELECT *
	FROM {{input project_id uuid, run_id uuid, epoch int, claim uuid, configured_policy text,
		window_us bigint, observe boolean, journal_message text, noted text, at timestamptz,
		new_state text, error_type text, error_message text, clip_id uuid, state_id uuid,
		final_state text, stored boolean}}
), precheck AS MATERIALIZED (
	SELECT m.*, l.*, NULL::uuid AS step_id, r.state, r.worker_name, r.revision,
		r.save_dataclips, d.id IS NOT NULL AS clip_known,
		CASE
		WHEN {{same_claim}} IS NOT TRUE THEN 'superseded'
		WHEN r.state = m.new_state AND r.error_type IS NOT DISTINCT FROM m.error_type
			AND r.finished_at = m.at
			AND (m.error_message IS NULL OR r.error_message = m.error_message)
			AND (m.clip_id IS NULL OR CASE WHEN d.id IS NOT NULL
				THEN d.id = r.final_dataclip_id
				ELSE m.final_state IS NOT NULL OR m.stored END) THEN 'replayed'
		ELSE {{decide run:complete}}
		END AS prechecked
	FROM input m
	LEFT JOIN runs r ON r.project_id = m.project_id AND r.id = m.run_id
	LEFT JOIN dataclips d ON d.project_id = m.project_id AND d.id = m.clip_id
	CROSS JOIN LATERAL ({{late_policy}}) l
), decided AS MATERIALIZED (
	SELECT s.*, v.verdict, e.keep_dataclip, c.changed, c.changed AS revised,
		CASE WHEN c.changed THEN s.new_state ELSE s.state END AS to_state,
		CASE WHEN e.keep_dataclip AND s.journal_message <> ''
			THEN left(s.journal_message, -1) || ',"final_state_id":"' || s.state_id || '"}'
			ELSE s.journal_message END AS message
	FROM precheck s
	CROSS JOIN LATERAL (SELECT CASE
		WHEN s.prechecked IN ('accepted', 'yielded', 'observed') AND s.clip_id IS NOT NULL AND NOT s.clip_known
			AND s.final_state IS NULL AND NOT s.stored AND s.noted IS NULL THEN 'does_not_exist'
		ELSE s.prechecked
		END AS verdict) v
	CROSS JOIN LATERAL (SELECT s.state = 'lost' AND v.verdict IN ('too_late', 'already_final')
		AND (s.final_state IS NOT NULL OR s.stored) AND s.save_dataclips AS keep_dataclip) e
	CROSS JOIN LATERAL (SELECT v.verdict IN ('accepted', 'yielded', 'observed') AS changed) c
), dataclip_added AS (
	INSERT INTO dataclips (project_id, id, type, body, source_id)
	SELECT project_id, state_id, 'step_result', final_state, run_id
	FROM decided
	WHERE (keep_dataclip OR changed AND NOT clip_known)
		AND final_state IS NOT NULL AND save_dataclips
	ON CONFLICT DO NOTHING
), updated AS (
	UPDATE runs r SET
		state = j.to_state,
		lost_from = NULL,
		claimed_at = coalesce(r.claimed_at, now()),
		error_type = j.error_type,
		error_message = j.error_message,
		finished_at = j.at,
		finalized_at = clock_timestamp(),
		final_dataclip_id = CASE
			WHEN j.clip_known THEN j.clip_id
			WHEN (j.final_state IS NOT NULL OR j.stored) AND j.save_dataclips THEN j.state_id END,
		revision = r.revision + 1
	FROM decided j
	WHERE r.project_id = j.project_id AND r.id = j.run_id AND j.changed
	RETURNING r.project_id, r.id, r.workflow_id, r.queue, r.priority, r.seq, j.state AS from_state
), {{in_flight_removed}}, {{waiting_removed}}, steps_closed AS (
	UPDATE steps s SET exit_reason = 'lost', finished_at = clock_timestamp()
	FROM updated v
	WHERE s.run_id = ANY (ARRAY[v.id]) AND s.project_id IS NOT DISTINCT FROM v.project_id
		AND s.exit_reason IS NULL
), {{journal run:complete}}
SELECT {{reply_columns}}, j.clip_id IS NOT NULL AND NOT j.clip_known AS clip_missing
FROM decided j
ORDER BY ord
