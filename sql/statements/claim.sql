-- Serves all pending claims that have the same list of queues. Parameters: for each claim its demand and the
-- worker's name; then the list (separated by the unit separator, U+001F), the default run timeout, the grace
-- period and the lease (0: no lease) in milliseconds. Runs are ordered by the list's preference, priority, fairness
-- between projects, age. The cost depends on the number of workflows with waiting runs, not on the number of runs:
-- `waiting_group` skips through the primary key, and runs in flight are counted in index order up to the limit (a
-- bitmap scan would read all of them).
--
-- Only one plan is possible, whatever the planner's statistics: lookups are LATERAL with a LIMIT, an index can serve
-- = ANY (ARRAY[…]) but a hash or merge join cannot, and runs are looked up by seq, since two of their indexes begin
-- with project_id. Returns for each run its claimer and what its token needs.
-- columns: ord, id, project_id, work_order_id, claim_epoch, claim_id, deadline_s
WITH RECURSIVE claimer AS MATERIALIZED (
	SELECT ord, worker, sum(demand) OVER (ORDER BY ord) AS upto, sum(demand) OVER () AS total
	FROM {{input demand int, worker text}}
), total_demand AS MATERIALIZED (
	SELECT coalesce(max(total), 0) AS n FROM claimer
), waiting_group AS (
	{{waiting_groups}}
), group_slots AS MATERIALIZED (
	SELECT g.*, total_demand.n,
		coalesce(array_position(q.queues, g.queue), array_position(q.queues, '*')) AS pref,
		CASE WHEN w.concurrency IS NULL THEN total_demand.n ELSE w.concurrency - (SELECT count(*) FROM (
			SELECT FROM in_flight f WHERE f.project_id = g.project_id AND f.workflow_id = g.workflow_id
			ORDER BY f.run_id LIMIT w.concurrency) running) END AS workflow_slots,
		CASE WHEN p.concurrency IS NULL THEN total_demand.n ELSE p.concurrency - (SELECT count(*) FROM (
			SELECT FROM in_flight f WHERE f.project_id = g.project_id
			ORDER BY f.workflow_id, f.run_id LIMIT p.concurrency) running) END AS project_slots
	FROM waiting_group g
	CROSS JOIN LATERAL (SELECT concurrency FROM workflows WHERE id = g.workflow_id LIMIT 1) w
	CROSS JOIN LATERAL (SELECT concurrency FROM projects WHERE id = g.project_id LIMIT 1) p
	CROSS JOIN total_demand
	CROSS JOIN (SELECT string_to_array({{scalar queues text}}, E'\x1f') AS queues) q
), candidate AS MATERIALIZED (
	SELECT o.project_id, o.workflow_id, o.queue, o.priority, o.pref, o.workflow_slots, o.project_slots, h.seq,
		row_number() OVER (PARTITION BY o.project_id, o.workflow_id
			ORDER BY o.pref, o.priority, h.seq) AS nth_in_workflow
	FROM group_slots o
	CROSS JOIN LATERAL (
		SELECT w.seq FROM waiting w
		WHERE w.project_id = o.project_id AND w.workflow_id = o.workflow_id
			AND w.queue = o.queue AND w.priority = o.priority
			AND w.seq >= o.seq	-- rows before it are claimed, but perhaps not vacuumed yet
		ORDER BY w.seq LIMIT greatest(0, least(o.n, o.workflow_slots, o.project_slots))) h
	WHERE o.pref IS NOT NULL
), within_workflow AS (
	SELECT *,
		row_number() OVER (PARTITION BY project_id ORDER BY pref, priority, seq) AS nth_in_project,
		row_number() OVER (PARTITION BY pref, priority, project_id ORDER BY seq) AS turn
	FROM candidate
	WHERE nth_in_workflow <= workflow_slots
), chosen AS MATERIALIZED (
	SELECT f.*, row_number() OVER (ORDER BY f.pref, f.priority, f.turn,
		coalesce((SELECT last_served FROM turns WHERE project_id = f.project_id), 0), f.seq) AS nth
	FROM within_workflow f
	WHERE f.nth_in_project <= f.project_slots
	ORDER BY nth
	LIMIT (SELECT n FROM total_demand)
), locked_waiting AS MATERIALIZED (
	SELECT w.*, p.nth
	FROM chosen p
	CROSS JOIN LATERAL (
		SELECT w.ctid AS row_id, w.seq FROM waiting w
		WHERE w.project_id = p.project_id AND w.workflow_id = p.workflow_id
			AND w.queue = p.queue AND w.priority = p.priority AND w.seq = p.seq
		LIMIT 1
		FOR UPDATE SKIP LOCKED) w
), work_order_ids AS MATERIALIZED (
	SELECT r.project_id, r.work_order_id
	FROM locked_waiting t
	CROSS JOIN LATERAL (SELECT project_id, work_order_id FROM runs WHERE seq = t.seq LIMIT 1) r
	ORDER BY r.project_id, r.work_order_id
), work_orders_locked AS MATERIALIZED (
	SELECT
	FROM work_order_ids o
	CROSS JOIN LATERAL (
		SELECT FROM work_orders w
		WHERE w.project_id = o.project_id AND w.id = o.work_order_id
		LIMIT 1
		FOR NO KEY UPDATE) w
), updated AS (
	UPDATE runs r SET
		state = 'claimed',
		claimed_at = now(),
		joined_at = NULL,
		active_at = now(),
		claim_epoch = r.claim_epoch + 1,
		claim_id = gen_random_uuid(),
		worker_name = c.worker,
		run_timeout_ms = coalesce(r.run_timeout_ms, {{scalar run_timeout_ms int}}),
		deadline_at = now() + {{scalar grace_ms bigint}} * interval '1 millisecond'
			+ coalesce(r.run_timeout_ms, {{scalar run_timeout_ms int}}) * interval '1 millisecond',
		lease_expires_at = CASE WHEN {{scalar lease_ms bigint}} > 0
			THEN now() + {{scalar lease_ms bigint}} * interval '1 millisecond' END,
		revision = r.revision + 1
	FROM locked_waiting t
	CROSS JOIN LATERAL (SELECT ord, worker FROM claimer WHERE upto >= t.nth ORDER BY ord LIMIT 1) c
	WHERE (SELECT count(*) FROM work_orders_locked) > 0	-- after all locks have been acquired
		AND r.seq = ANY (ARRAY[t.seq]) AND r.state IN ({{from claim}})
	RETURNING r.project_id, r.id, r.workflow_id, r.work_order_id, r.claim_epoch, r.claim_id, r.revision,
		'available' AS from_state, r.state AS to_state, r.worker_name, r.deadline_at, t.nth, c.ord
), waiting_removed AS (
	DELETE FROM waiting WHERE ctid = ANY (ARRAY(SELECT row_id FROM locked_waiting))	-- never updated, and locked
), {{in_flight_added}}, work_orders_running AS (
	UPDATE work_orders o SET state = 'running', last_activity = now()
	FROM updated v
	WHERE o.project_id = ANY (ARRAY[v.project_id]) AND o.id = ANY (ARRAY[v.work_order_id])
), turns_taken AS (
	INSERT INTO turns AS t (project_id, last_served)
	SELECT project_id, nextval('turn')
	FROM (SELECT project_id, nth = max(nth) OVER (PARTITION BY project_id) AS last, nth
		FROM updated ORDER BY nth) served
	WHERE last
	ON CONFLICT (project_id) DO UPDATE SET last_served = excluded.last_served
), journal AS (
	INSERT INTO transitions (project_id, run_id, revision, event, from_state, to_state, outcome, worker, epoch)
	SELECT project_id, id, revision, 'claim', from_state, to_state, 'accepted', worker_name, claim_epoch
	FROM updated
)
SELECT ord, id, project_id, work_order_id, claim_epoch, claim_id, extract(epoch FROM deadline_at)::bigint AS deadline_s
FROM updated
ORDER BY ord, nth
