-- An operator cancels a waiting run. Executed with the claims' advisory lock and the work order's lock held; `settle`
-- follows. Returns the state before, NULL if there is no such run, and whether it was cancelled.
-- columns: state, cancelled
WITH precheck AS MATERIALIZED (
	SELECT r.project_id, r.id, r.state FROM runs r
	WHERE r.project_id = {{scalar project_id uuid}} AND r.id = {{scalar run_id uuid}}
), updated AS (
	UPDATE runs r SET
		state = 'cancelled',
		finished_at = now(),
		finalized_at = clock_timestamp(),
		revision = r.revision + 1
	FROM precheck s
	WHERE r.project_id = s.project_id AND r.id = s.id AND r.state IN ({{from cancel}})
	RETURNING r.project_id, r.id, r.workflow_id, r.queue, r.priority, r.seq, r.revision,
		s.state AS from_state, r.state AS to_state, r.claim_epoch
), {{waiting_removed}}, journal AS (
	INSERT INTO transitions (project_id, run_id, revision, event, from_state, to_state, outcome, epoch)
	SELECT project_id, id, revision, 'cancel', from_state, to_state, 'accepted', claim_epoch
	FROM updated
)
SELECT s.state, EXISTS (SELECT FROM updated) AS cancelled FROM (SELECT) one_row LEFT JOIN precheck s ON true
