-- What is refused although the run would have taken it: a field that cannot be read, a payload that is
-- none. The claim comes first all the same, and the journal has its row.
WITH m AS MATERIALIZED (
	SELECT *
	FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::uuid[], $5::text[], $6::bigint[], $7::text[], $8::text[],
		$9::text[])
	WITH ORDINALITY AS m(project_id, run_id, epoch, claim, configured, window_us, event, code, message, ord)
), judged AS MATERIALIZED (
	SELECT m.*, l.*, r.state, r.worker_name, r.revision,
		CASE WHEN {{same_claim}} IS NOT TRUE THEN 'superseded' ELSE m.code END AS verdict
	FROM m
	LEFT JOIN runs r ON r.project_id = m.project_id AND r.id = m.run_id
	CROSS JOIN LATERAL ({{late}}) l
), journal AS (
	INSERT INTO transitions (project_id, run_id, revision, event, from_state, to_state, outcome, code,
		policy, worker, epoch, lateness, message)
	SELECT project_id, run_id, revision, event, state, state, 'refused', verdict,
		CASE WHEN state = 'lost' THEN policy END, worker_name, epoch, lateness, message
	FROM judged
	WHERE state IS NOT NULL
)
SELECT {{answer}}
FROM judged j
ORDER BY ord
