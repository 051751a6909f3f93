-- The time line of a run ($1: its project, $2: its id): when it was enqueued and joined, what the journal has of it
-- apart from steps that were reported in time, and when its worker was last active before a loss. At most the newest
-- two hundred.
WITH run AS (
	SELECT * FROM runs WHERE project_id = $1::uuid AND id = $2::uuid
), j AS MATERIALIZED (
	{{journal_of_run}}
), moment AS (
	SELECT inserted_at AS at, 0::bigint AS id, 'enqueued' AS event, 'enqueued in queue ' || queue AS what FROM run
	UNION ALL
	SELECT joined_at, 0, 'phx_join', format('worker %s joined the run', worker_name) FROM run
	WHERE joined_at IS NOT NULL
	UNION ALL
	SELECT (interlock_journal_message(j.message)->>'active_at')::timestamptz, j.id - 1, 'active',
		format('worker %s was last active', j.worker)
	FROM j
	WHERE j.event = 'lost' AND interlock_journal_message(j.message)->>'active_at' IS NOT NULL
	UNION ALL
	SELECT j.at - j.lateness, j.id - 1, j.code, format('its %s expired', j.code)
	FROM j
	WHERE j.event = 'lost' AND j.code IS NOT NULL
	UNION ALL
	SELECT j.at, j.id, j.event, {{journal_sentence}} || coalesce(' (the last of ' || j.more || ' more)', '')
	FROM j
	WHERE NOT (j.outcome IN ('accepted', 'implicit') AND j.event LIKE 'step:%')
)
SELECT at, event, what
FROM (SELECT * FROM moment ORDER BY at DESC, id DESC LIMIT 200) newest
ORDER BY newest.at, id
