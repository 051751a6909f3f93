-- Releases claims that no worker will execute: the worker was gone before the reply was written, or (`left`) it
-- joined the run and left its channel. The epoch is incremented and the claim's id removed, which invalidates the
-- token. A run that was joined meanwhile, or that has started, is not released.
-- columns: ord
WITH input AS MATERIALIZED (
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
	FROM input m
	WHERE r.project_id = m.project_id AND r.id = m.run_id AND {{same_claim}}
		AND r.state IN ({{from release}}) AND (r.joined_at IS NULL OR m."left")
	RETURNING r.project_id, r.id, r.workflow_id, r.queue, r.priority, r.seq, r.revision, r.claim_epoch,
		'claimed' AS from_state, r.state AS to_state, m.ord
), {{in_flight_removed}}, {{waiting_added}}, journal AS (
	INSERT INTO transitions (project_id, run_id, revision, event, from_state, to_state, outcome, epoch)
	SELECT project_id, id, revision, 'release', from_state, to_state, 'released', claim_epoch
	FROM updated
)
SELECT ord FROM updated ORDER BY ord
