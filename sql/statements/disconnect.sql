-- A worker's socket is gone while it had this run: a row of the journal, and the time when the worker was last active.
-- A run that has ended, is another worker's now, or was joined from another socket since (`joins`: as this socket's join
-- left it) gets none. `code`: how the socket ended; `message`: who it was.
-- columns: ord
WITH input AS MATERIALIZED (
	SELECT *
	FROM {{input project_id uuid, run_id uuid, epoch int, claim uuid, code text, message text,
		active_at timestamptz, joins int}}
), journal_entry AS MATERIALIZED (
	SELECT m.project_id, m.run_id, r.revision, NULL::uuid AS step_id, 'disconnect' AS event,
		r.state AS from_state, r.state AS to_state, 'noted' AS outcome, m.code, NULL AS policy,
		r.worker_name AS worker, m.epoch, NULL::timestamptz AS worker_at, NULL::interval AS lateness,
		(m.message::jsonb || jsonb_build_object('active_at', m.active_at))::text AS message, false AS changed
	FROM input m
	JOIN runs r ON r.project_id = m.project_id AND r.id = m.run_id
	WHERE {{same_claim}} AND r.joins = m.joins AND r.state IN ({{from lost}})
), updated AS (
	UPDATE runs r SET active_at = m.active_at
	FROM input m
	JOIN journal_entry j ON j.project_id = m.project_id AND j.run_id = m.run_id
	WHERE r.project_id = m.project_id AND r.id = m.run_id
), {{journaled}}
SELECT ord FROM input ORDER BY ord
