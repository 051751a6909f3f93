-- Finished runs, numbers :first to :last, spread over thirty days: work order, input, run and one step each, as
-- they would be after as many lives, but for the journal and the logs, which go by the day. Rows and
-- indexes are written as ever; that what they refer to is there need not be asked. As superuser.
SET session_replication_role = replica;
SET synchronous_commit = off;
SET client_min_messages = error;
SET bench.first = :first;
SET bench.last = :last;

-- What belongs to one number has one id, of version 7.
CREATE TEMP VIEW numbered AS
SELECT n, now() - interval '30 days' + n * interval '259 ms' AS at,
	(lpad(to_hex(1700000000000 + n * 259), 12, '0') || '70008'
		|| lpad(to_hex(n * 2654435761 % 1152921504606846975), 15, '0'))::uuid AS id
FROM generate_series(current_setting('bench.first')::bigint, current_setting('bench.last')::bigint) n
OFFSET 0;

INSERT INTO dataclips (project_id, id, type, source_id, body, inserted_at)
SELECT w.project_id, n.id, 'saved_input', n.id, '{"data":{}}', n.at
FROM workflows w, numbered n;

INSERT INTO work_orders (project_id, id, workflow_id, trigger_id, dataclip_id, state, last_activity, inserted_at)
SELECT w.project_id, n.id, w.id, t.id, n.id, 'success', n.at, n.at
FROM workflows w JOIN triggers t ON t.workflow_id = w.id, numbered n;

INSERT INTO runs (project_id, id, work_order_id, workflow_id, snapshot_id, starting_node_id, dataclip_id,
	state, revision, claim_epoch, claim_id, worker_name, claimed_at, joined_at, started_at, deadline_at,
	finished_at, finalized_at, inserted_at)
SELECT w.project_id, n.id, n.id, w.id, w.snapshot_id, t.id, n.id,
	'success', 4, 1, n.id, 'worker', n.at, n.at, n.at, n.at, n.at, n.at, n.at
FROM workflows w JOIN triggers t ON t.workflow_id = w.id, numbered n;

INSERT INTO steps (project_id, id, run_id, snapshot_id, job_id, input_dataclip_id, exit_reason, started_at,
	finished_at, inserted_at)
SELECT w.project_id, n.id, n.id, w.snapshot_id, j.job_id, n.id, 'success', n.at, n.at, n.at
FROM workflows w
CROSS JOIN LATERAL (SELECT job_id FROM snapshot_jobs WHERE snapshot_id = w.snapshot_id LIMIT 1) j, numbered n;
