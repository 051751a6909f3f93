-- run:log and run:batch_logs: one row per line. Lines of a worker whose claim is over are dropped; a
-- step that is not of this run is dropped from its line.
WITH m AS MATERIALIZED (
	SELECT *
	FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[], $8::text[],
		$9::text[], $10::timestamptz[])
	WITH ORDINALITY AS m(project_id, run_id, epoch, claim, id, step_id, level, source, message, at, ord)
), precheck AS MATERIALIZED (
	SELECT m.*, {{same_claim}} IS TRUE AS is_current_claim, rs.step_id AS run_step_id
	FROM m
	LEFT JOIN runs r ON r.project_id = m.project_id AND r.id = m.run_id
	LEFT JOIN run_steps rs ON rs.project_id = m.project_id AND rs.run_id = m.run_id
		AND rs.step_id = m.step_id
), lines_added AS (
	INSERT INTO log_lines (project_id, run_id, id, step_id, level, source, message, timestamp)
	SELECT project_id, run_id, id, run_step_id, level, source, message, at
	FROM precheck
	WHERE is_current_claim
	ON CONFLICT DO NOTHING
)
SELECT ord, CASE WHEN is_current_claim THEN 'accepted' ELSE 'superseded' END AS verdict,
	step_id IS NOT NULL AND run_step_id IS NULL AS step_missing
FROM precheck
ORDER BY ord
