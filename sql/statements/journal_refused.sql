-- What is refused although the run would have taken it: a field that cannot be read, a malformed payload
-- none. The claim comes first all the same, and the journal has its row.
WITH m AS MATERIALIZED (
	SELECT *
	FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::uuid[], $5::text[], $6::bigint[], $7::text[], $8::text[],
		$9::text[])
	WITH ORDINALITY AS m(project_id, run_id, epoch, claim, configured_policy, window_us, event, code, message, ord)
), decided AS MATERIALIZED (
	SELECT m.*, l.*, r.state, r.worker_name, r.revision,
		CASE WHEN {{same_claim}} IS NOT TRUE THEN 'superseded' ELSE m.code END AS verdict
	FROM m
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
