-- run:log and run:batch_logs: one row per line. Lines of a worker without the current claim are dropped; a line
-- that names a step of another run is stored without the step. No foreign key checks what is inserted: the run and
-- the step are looked at here. An id that is not of today, because the coordinator's clock is wrong, is moved to
-- today, where there is a partition, and comes back as `moved`.
-- columns: ord, verdict, step_missing, moved
WITH input AS MATERIALIZED (
	SELECT *
	FROM {{input project_id uuid, run_id uuid, epoch int, claim uuid, id uuid, step_id uuid, level text,
		source text, message text, at timestamptz}}
), today AS MATERIALIZED (
	SELECT interlock_uuid_at(now() - interval '12 h') AS since, interlock_uuid_at(now() + interval '12 h') AS until
), precheck AS MATERIALIZED (
	SELECT m.*, {{same_claim}} IS TRUE AS is_current_claim, s.id AS run_step_id,
		CASE WHEN m.id >= t.since AND m.id < t.until THEN NULL ELSE interlock_uuid_near(m.id) END AS moved
	FROM input m
	CROSS JOIN today t
	LEFT JOIN runs r ON r.project_id = m.project_id AND r.id = m.run_id
	LEFT JOIN steps s ON s.project_id = m.project_id AND s.id = m.step_id AND s.run_id = m.run_id
), lines_added AS (
	INSERT INTO log_lines (project_id, run_id, id, step_id, level, source, message, timestamp)
	SELECT project_id, run_id, coalesce(moved, id), run_step_id, level, source, message, at
	FROM precheck
	WHERE is_current_claim
	ON CONFLICT DO NOTHING
)
SELECT ord, CASE WHEN is_current_claim THEN 'accepted' ELSE 'superseded' END AS verdict,
	step_id IS NOT NULL AND run_step_id IS NULL AS step_missing, moved
FROM precheck
ORDER BY ord
