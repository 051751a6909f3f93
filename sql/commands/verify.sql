-- The runs of a project against their journal and their log lines: whether each row begins where the one before it
-- ended, whether a change is missing between two, and whether the last row is the state and revision of the run. Tables
-- that are written with every message have no CHECKs and few foreign keys: what those would say is looked for here.
-- Parameters: the project; the maximum number of differences. The first row has the counts, each other row a
-- difference.
--
-- A row that changed the run has the revision after it, any other row the run's revision at the time; an observed
-- row may have either. A step's message changes the run only where its state changes. What happened before the oldest
-- partition is unknown and not reported as missing.
WITH oldest_partition AS MATERIALIZED (
	SELECT min(substring(pg_get_expr(c.relpartbound, c.oid) FROM $$FROM \('([^']+)'\)$$)::timestamptz) AS since
	FROM pg_inherits i
	JOIN pg_class c ON c.oid = i.inhrelid
	WHERE i.inhparent = 'transitions'::regclass AND NOT i.inhdetachpending
), entry AS (
	SELECT run_id, id, revision, from_state, to_state,
		event IN ({{events}}, 'disconnect') AND from_state IN ({{states}}) AND to_state IN ({{states}})
			AND outcome IN ({{outcomes}}, 'refused', 'revived', 'released', 'requeued', 'noted')
			AND coalesce(policy IN ('yield', 'acknowledge', 'reject'), true)
			AND (outcome <> 'refused' OR code IS NOT NULL) AS is_known,
		lag(revision) OVER w AS before, lag(to_state) OVER w AS ended, lead(id) OVER w IS NULL AS newest,
		CASE
		WHEN outcome IN ('accepted', 'implicit', 'yielded', 'revived', 'released', 'requeued')
			THEN (event NOT LIKE 'step:%' OR from_state <> to_state)::int
		WHEN outcome <> 'observed' THEN 0
		END AS step
	FROM transitions
	WHERE project_id = $1::uuid
	WINDOW w AS (PARTITION BY run_id ORDER BY revision, id)
), checked_entry AS (
	SELECT *,
		CASE
		WHEN NOT is_known THEN format('a row of revision %s has an unknown event, state, outcome, policy or code', revision)
		WHEN before IS NULL THEN NULL
		WHEN revision > before + coalesce(step, 1) THEN
			format('a change is missing before revision %s', revision)
		WHEN revision < before + coalesce(step, 0) THEN format('two changes have revision %s', revision)
		WHEN from_state <> ended THEN format('a row of revision %s begins from %s, the one before it ended in %s',
			revision, from_state, ended)
		END AS wrong
	FROM entry
), history AS (
	SELECT run_id, max(revision) AS revision, max(to_state) FILTER (WHERE newest) AS state,
		max(from_state) FILTER (WHERE before IS NULL) AS begins_from,
		max(revision - step) FILTER (WHERE before IS NULL) AS begins_at,
		(array_agg(wrong ORDER BY revision, id) FILTER (WHERE wrong IS NOT NULL))[1] AS wrong
	FROM checked_entry
	GROUP BY run_id
), unjournaled AS (
	SELECT run_id, min(format('the journal has no %s of step %s', event, step_id)) AS step
	FROM (
		SELECT run_id, id AS step_id, 'step:start' AS event FROM steps
		WHERE project_id = $1::uuid AND started_at IS NOT NULL
		UNION ALL
		SELECT run_id, id, 'step:complete' FROM steps WHERE project_id = $1::uuid AND exit_reason <> 'lost'
		EXCEPT
		SELECT run_id, step_id, event FROM transitions
		WHERE project_id = $1::uuid AND outcome IN ('accepted', 'implicit', 'yielded')) s
	GROUP BY run_id
), checked AS MATERIALIZED (
	SELECT r.id,
		h.run_id IS NULL AND r.revision > 0 AND r.inserted_at < o.since AS uncovered,
		CASE
		WHEN h.run_id IS NOT NULL OR r.inserted_at < o.since OR r.revision = 0 AND r.state = 'available'
			THEN NULL
		ELSE 'the journal has no row of this run'
		END AS nothing,
		h.wrong,
		CASE WHEN r.inserted_at >= o.since AND (h.begins_at > 0 OR h.begins_from <> 'available')
			THEN 'the first rows of this run are missing from the journal' END AS beginning,
		CASE WHEN r.inserted_at >= o.since THEN u.step END AS step,
		CASE
		WHEN h.state <> r.state THEN format('the run is %s, but the journal says %s', r.state, h.state)
		WHEN h.revision <> r.revision
			THEN format('the run is at revision %s, but the journal ends with %s', r.revision, h.revision)
		END AS ending
	FROM oldest_partition o
	CROSS JOIN runs r
	LEFT JOIN history h ON h.run_id = r.id
	LEFT JOIN unjournaled u ON u.run_id = r.id
	WHERE r.project_id = $1::uuid
), stray_row AS (	-- what no foreign key holds together
	SELECT s.run_id AS id, format('its step %s %s', s.id, CASE
		WHEN r.id IS NULL THEN 'is of a run that does not exist'
		WHEN j.job_id IS NULL THEN 'is of a job that its version of the workflow does not have'
		ELSE 'has an input that does not exist' END) AS difference
	FROM steps s
	LEFT JOIN runs r ON r.project_id = s.project_id AND r.id = s.run_id
	LEFT JOIN snapshot_jobs j ON j.project_id = s.project_id AND j.snapshot_id = s.snapshot_id AND j.job_id = s.job_id
	LEFT JOIN dataclips d ON d.project_id = s.project_id AND d.id = s.input_dataclip_id
	WHERE s.project_id = $1::uuid
		AND (r.id IS NULL OR j.job_id IS NULL OR s.input_dataclip_id IS NOT NULL AND d.id IS NULL)
	UNION ALL
	SELECT coalesce(r.id, w.run_id), CASE WHEN w.run_id IS NULL THEN 'it is available, but not in the table waiting'
		ELSE 'it is in the table waiting, but not available' END
	FROM (SELECT * FROM runs WHERE project_id = $1::uuid AND state = 'available') r
	FULL JOIN (SELECT * FROM waiting WHERE project_id = $1::uuid) w ON w.run_id = r.id
	WHERE r.id IS NULL OR w.run_id IS NULL
	UNION ALL
	SELECT coalesce(r.id, f.run_id), CASE WHEN f.run_id IS NULL THEN 'it is in flight, but not in the table in_flight'
		ELSE 'it is in the table in_flight, but not in flight' END
	FROM (SELECT * FROM runs WHERE project_id = $1::uuid AND state IN ('claimed', 'started')) r
	FULL JOIN (SELECT * FROM in_flight WHERE project_id = $1::uuid) f ON f.run_id = r.id
	WHERE r.id IS NULL OR f.run_id IS NULL
	UNION ALL
	SELECT id, 'a dataclip of a project that does not exist'
	FROM dataclips
	WHERE project_id = $1::uuid AND NOT EXISTS (SELECT FROM projects WHERE id = $1::uuid)
), stray_line AS (	-- no foreign key holds log lines to their run and step
	SELECT l.run_id AS id, format('%s of its log lines are of a run or step that does not exist', count(*)) AS difference
	FROM log_lines l
	LEFT JOIN runs r ON r.project_id = l.project_id AND r.id = l.run_id
	LEFT JOIN steps s ON s.project_id = l.project_id AND s.run_id = l.run_id AND s.id = l.step_id
	WHERE l.project_id = $1::uuid AND (r.id IS NULL OR l.step_id IS NOT NULL AND s.id IS NULL)
	GROUP BY l.run_id
), odd_line AS (
	SELECT run_id AS id, format('%s of its log lines have an unknown level', count(*)) AS difference
	FROM log_lines
	WHERE project_id = $1::uuid AND level NOT IN ('debug', 'info', 'success', 'warn', 'error', 'always')
	GROUP BY run_id
), finding AS MATERIALIZED (
	SELECT id, concat_ws('; ', nothing, beginning, wrong, step, ending) AS difference
	FROM checked
	WHERE coalesce(nothing, wrong, beginning, step, ending) IS NOT NULL
	UNION ALL
	SELECT * FROM stray_row
	UNION ALL
	SELECT * FROM stray_line
	UNION ALL
	SELECT * FROM odd_line
)
SELECT count(*) AS runs, count(*) FILTER (WHERE uncovered) AS uncovered,
	(SELECT count(*) FROM finding) AS differences, NULL AS run_id, NULL AS difference
FROM checked
UNION ALL (
	SELECT NULL, NULL, NULL, id, difference FROM finding ORDER BY id LIMIT $2::int
)
