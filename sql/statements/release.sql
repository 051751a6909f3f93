-- Claims that no worker will execute go back: the worker was gone before the reply was written, or (`left`) it
-- joined the run and left its channel. The epoch grows and the claim's id goes, so that the token is worth
-- nothing any more. What was joined meanwhile stays, and so does what has started.
-- columns: ord
WITH m AS MATERIALIZED (
	SELECT *
	FROM {{input project_id uuid, run_id uuid, epoch int, claim uuid, "left" boolean}}
), updated AS (
	UPDATE runs r SET
		state = 'available',
		claimed_at = NULL,
		joined_at = NULL,
		worker_name = NULL,
		deadline_at = NULL,
		lease_expires_at = NULL,
		claim_epoch = r.claim_epoch + 1,
		claim_id = NULL,
		unjoined_claims = {{unjoined_claims}},
		revision = r.revision + 1
	FROM m
	WHERE r.project_id = m.project_id AND r.id = m.run_id AND {{same_claim}}
		AND r.state IN ({{from release}}) AND (r.joined_at IS NULL OR m."left")
	RETURNING r.*, m.ord
), in_flight_removed AS (
	DELETE FROM in_flight f USING updated v
	WHERE f.project_id = v.project_id AND f.workflow_id = v.workflow_id AND f.run_id = v.id
), waits AS (
	INSERT INTO waiting (project_id, workflow_id, queue, priority, seq, run_id)
	SELECT project_id, workflow_id, queue, priority, seq, id FROM updated
), journal AS (
	INSERT INTO transitions (project_id, run_id, revision, event, from_state, to_state, outcome, epoch)
	SELECT project_id, id, revision, 'release', 'claimed', 'available', 'released', claim_epoch
	FROM updated
)
SELECT ord FROM updated ORDER BY ord
