-- An operator decides about the late result of a lost run that the journal has kept (policy acknowledge or reject):
-- `accept`: it becomes the run's, with what came late of its steps; otherwise it is dismissed, and the run stays lost.
-- Executed with the work order's lock held; `settle` follows. `by`: who decided. Returns the verdict, the run's state
-- before, and who decided earlier and when. The verdicts that change nothing: `repeated` (decided so before), `decided`
-- (decided otherwise), `nothing` (there is no such result), `not_kept` (it was not kept, or is not readable),
-- `not_lost`.
-- columns: verdict, state, new_state, decided, decided_by, decided_at
WITH precheck AS MATERIALIZED (
	SELECT r.project_id, r.id, r.state, r.lost_from, r.error_type, r.lost_at, r.finalized_at, r.claim_epoch,
		r.worker_name, {{scalar accept boolean}} AS accept, l.id AS late_id, l.worker_at, l.message AS late,
		l.state AS new_state, d.event AS decided, d.by AS decided_by, d.at AS decided_at,
		coalesce(d.id > l.id, false) AS is_decided
	FROM runs r
	LEFT JOIN LATERAL ({{late_result}}) l ON true
	LEFT JOIN LATERAL ({{late_decision}}) d ON true
	WHERE r.project_id = {{scalar project_id uuid}} AND r.id = {{scalar run_id uuid}}
), decided AS MATERIALIZED (
	SELECT *,
		CASE
		WHEN is_decided AND accept = (decided = 'accept') THEN 'repeated'
		WHEN state NOT IN ({{from accept}}) THEN 'not_lost'
		WHEN late_id IS NULL THEN 'nothing'
		WHEN is_decided THEN 'decided'
		WHEN new_state IS NULL AND accept THEN 'not_kept'
		ELSE 'accepted'
		END AS verdict
	FROM precheck
), late_step AS MATERIALIZED (
	SELECT DISTINCT ON (t.step_id) j.project_id, t.step_id, t.id, t.worker_at, t.lateness, m.message, j.finalized_at
	FROM decided j
	JOIN transitions t ON t.project_id = j.project_id AND t.run_id = j.id
	CROSS JOIN LATERAL (SELECT interlock_journal_message(t.message) AS message OFFSET 0) m
	WHERE j.verdict = 'accepted' AND j.accept AND t.event = 'step:complete' AND t.from_state = 'lost'
		AND t.epoch = j.claim_epoch AND (t.outcome = 'too_late' OR t.outcome = 'refused' AND t.code = 'already_final')
		AND m.message->>'reason' IS NOT NULL
	ORDER BY t.step_id, t.id DESC
), steps_completed AS (
	UPDATE steps s SET
		exit_reason = l.message->>'reason',
		error_type = l.message->>'error_type',
		error_message = l.message->>'error_message',
		finished_at = coalesce(l.worker_at, s.finished_at),
		output_dataclip_id = (SELECT d.id FROM dataclips d WHERE d.project_id = l.project_id
			AND d.id::text = l.message->>'output_dataclip_id')
	FROM late_step l
	WHERE s.project_id = l.project_id AND s.id = l.step_id AND s.exit_reason = 'lost'
		AND s.finished_at = l.finalized_at
	RETURNING l.*
), updated AS (
	UPDATE runs r SET
		state = CASE WHEN j.accept THEN j.new_state ELSE r.state END,
		lost_from = CASE WHEN NOT j.accept THEN r.lost_from END,
		error_type = CASE WHEN j.accept THEN j.late->>'error_type' ELSE r.error_type END,
		error_message = CASE WHEN j.accept THEN j.late->>'error_message' ELSE r.error_message END,
		finished_at = CASE WHEN j.accept THEN coalesce(j.worker_at, r.finished_at) ELSE r.finished_at END,
		finalized_at = CASE WHEN j.accept THEN clock_timestamp() ELSE r.finalized_at END,
		final_dataclip_id = CASE WHEN j.accept THEN (SELECT d.id FROM dataclips d
			WHERE d.project_id = j.project_id
				AND d.id::text IN (j.late->>'final_dataclip_id', j.late->>'final_state_id')
			ORDER BY d.id::text = j.late->>'final_dataclip_id' DESC LIMIT 1) ELSE r.final_dataclip_id END,
		revision = r.revision + 1
	FROM decided j
	WHERE r.project_id = j.project_id AND r.id = j.id AND j.verdict = 'accepted'
	RETURNING r.project_id, r.id, r.revision, r.state AS to_state
), journal AS (	-- the steps first, which are the lost run's
	INSERT INTO transitions (project_id, run_id, revision, step_id, event, from_state, to_state, outcome, worker, epoch,
		worker_at, lateness, message)
	SELECT j.project_id, j.id, e.*
	FROM decided j
	JOIN updated v ON v.project_id = j.project_id AND v.id = j.id
	CROSS JOIN LATERAL (
		SELECT v.revision - 1, s.step_id, 'step:complete', j.state, j.state, 'yielded', j.worker_name, j.claim_epoch,
			s.worker_at, s.lateness, jsonb_build_object('by', {{scalar by text}}, 'journal_id', s.id)::text
		FROM steps_completed s
		UNION ALL
		SELECT v.revision, NULL, CASE WHEN j.accept THEN 'accept' ELSE 'discard' END, j.state, v.to_state, 'accepted',
			j.worker_name, j.claim_epoch, NULL, clock_timestamp() - j.lost_at,
			jsonb_build_object('by', {{scalar by text}}, 'database_role', session_user, 'journal_id', j.late_id,
				'overturned', CASE WHEN j.accept THEN jsonb_build_object('lost_from', j.lost_from,
					'error_type', j.error_type, 'lost_at', j.lost_at) END)::text
		ORDER BY 1) e
)
SELECT verdict, state, new_state, decided, decided_by, to_char(decided_at, 'YYYY-MM-DD HH24:MI:SS TZ') AS decided_at
FROM decided
