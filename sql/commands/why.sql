-- Why a run ($1: its project, $2: its id) is in its state: the facts, and in `why` a paragraph in words, whose
-- sentences stand below, each with the case in which it is said. Claims take only what the limits, the queue and the
-- workers allow, so for a waiting run these are looked at. Counts are bounded.
WITH r AS MATERIALIZED (
	SELECT r.*, w.name AS workflow, w.concurrency AS workflow_limit, p.concurrency AS project_limit,
		to_char(now(), 'TZ') AS zone
	FROM runs r
	JOIN workflows w ON w.project_id = r.project_id AND w.id = r.workflow_id
	JOIN projects p ON p.id = r.project_id
	WHERE r.project_id = $1::uuid AND r.id = $2::uuid
), j AS MATERIALIZED (
	SELECT j.*, {{journal_sentence}} AS sentence FROM ({{journal_of_run}}) j
), claim AS (
	SELECT * FROM j WHERE event = 'claim' ORDER BY id DESC LIMIT 1
), loss AS (
	SELECT j.*, (interlock_journal_message(message)->>'active_at')::timestamptz AS active_at
	FROM j WHERE event = 'lost' ORDER BY id DESC LIMIT 1
), gone AS (
	SELECT j.* FROM j, claim WHERE j.event = 'disconnect' AND j.id > claim.id ORDER BY j.at DESC LIMIT 1
), back AS (
	SELECT j.at FROM j, gone WHERE j.event = 'phx_join' AND j.at > gone.at ORDER BY j.at DESC LIMIT 1
), late AS (
	SELECT *, count(*) OVER () AS n
	FROM j
	WHERE id > (SELECT id FROM loss) AND from_state = 'lost' AND lateness IS NOT NULL AND event NOT IN ('accept', 'discard')
		AND outcome IN ('yielded', 'too_late', 'refused', 'revived')
	ORDER BY event = 'run:complete' DESC, id DESC
	LIMIT 1
), ending AS (
	SELECT * FROM j WHERE outcome IN ('accepted', 'yielded', 'observed') AND event <> 'discard'
		AND to_state NOT IN ('available', 'claimed', 'started', 'lost') ORDER BY id DESC LIMIT 1
), returned AS (
	SELECT * FROM j WHERE event IN ('release', 'requeue') ORDER BY id DESC LIMIT 1
), decision AS (
	SELECT d.* FROM r, LATERAL ({{late_decision}}) d
), kept AS (
	SELECT l.* FROM r, LATERAL ({{late_result}}) l
), holder AS (	-- the coordinator that spoke with its worker last
	SELECT j.coordinator, c.seen_at, coalesce(c.seen_at < now() - interval '1 minute', true) AS silent
	FROM (SELECT * FROM j WHERE event <> 'lost' AND coordinator IS NOT NULL ORDER BY id DESC LIMIT 1) j
	LEFT JOIN coordinators c ON c.name = j.coordinator
), fleet AS (
	SELECT count(DISTINCT c.name) AS coordinators, count(w.worker) AS workers,
		count(w.worker) FILTER (WHERE w.runs < w.capacity) AS free
	FROM coordinators c
	LEFT JOIN json_to_recordset(c.workers::json) AS w(worker text, capacity int, runs int) ON true
	WHERE c.seen_at > now() - interval '1 minute'
), queue AS (
	SELECT
		(SELECT count(*) FROM (SELECT FROM in_flight f WHERE f.project_id = r.project_id
			AND f.workflow_id = r.workflow_id LIMIT 10000) x) AS of_workflow,
		(SELECT count(*) FROM (SELECT FROM in_flight f WHERE f.project_id = r.project_id LIMIT 10000) x) AS of_project,
		(SELECT count(*) FROM (SELECT FROM waiting w WHERE w.project_id = r.project_id
			AND w.workflow_id = r.workflow_id AND w.queue = r.queue
			AND (w.priority, w.seq) < (r.priority, r.seq) LIMIT 10000) x) AS ahead
	FROM r
	WHERE r.state = 'available'
), x AS MATERIALIZED (
	SELECT r.*, claim.at AS claim_at, loss.at AS loss_at, loss.code AS clock, loss.lateness AS overdue,
		loss.coordinator AS lost_by, loss.active_at AS last_active_at, loss.worker AS lost_worker, gone.at AS gone_at,
		gone.sentence AS gone, gone.code AS gone_how, back.at AS back_at, late.sentence AS late, late.n AS nlate,
		late.event AS late_event, late.at AS late_at, late.lateness AS late_by, late.outcome AS late_outcome,
		late.policy AS late_policy, ending.sentence AS ending, ending.event AS ending_event,
		returned.sentence AS returned, returned.at AS returned_at, decision.event AS decided, decision.by AS decided_by,
		decision.at AS decided_at, coalesce(decision.id > kept.id, false) AS is_decided, kept.state AS kept_state,
		kept.id IS NOT NULL AS is_kept, holder.coordinator AS holder, holder.seen_at AS holder_seen_at,
		holder.silent AS holder_silent, fleet.*, queue.*,
		(SELECT string_agg(coalesce(sj.name, s.job_id::text), ', ')
			FROM (SELECT s.* FROM steps s
				WHERE s.project_id = r.project_id AND s.run_id = r.id AND s.exit_reason IS NULL
				ORDER BY s.inserted_at LIMIT 5) s
			LEFT JOIN snapshot_jobs sj ON sj.project_id = s.project_id AND sj.snapshot_id = s.snapshot_id
				AND sj.job_id = s.job_id) AS open_jobs
	FROM r
	LEFT JOIN claim ON true LEFT JOIN loss ON true LEFT JOIN gone ON true LEFT JOIN back ON true
	LEFT JOIN late ON true LEFT JOIN ending ON true LEFT JOIN returned ON true LEFT JOIN decision ON true
	LEFT JOIN kept ON true LEFT JOIN holder ON true LEFT JOIN fleet ON true LEFT JOIN queue ON true
), sentence AS (
	SELECT s.*
	FROM x
	CROSS JOIN LATERAL (VALUES
	-- It waits.
	(1, state = 'available', format('The run has been waiting in queue %s for %s.', queue,
		interlock_duration(now() - coalesce(returned_at, inserted_at)))),
	(2, state = 'available' AND returned IS NOT NULL, format('It was %s.', returned)),
	(3, state = 'available' AND of_workflow >= workflow_limit,
		format('The limit of its workflow is reached: %s of %s runs are in flight.', of_workflow, workflow_limit)),
	(4, state = 'available' AND of_project >= project_limit,
		format('The limit of its project is reached: %s of %s runs are in flight.', of_project, project_limit)),
	(5, state = 'available' AND coordinators = 0, 'No coordinator is running.'),
	(6, state = 'available' AND coordinators > 0 AND workers = 0, 'No worker is connected.'),
	(7, state = 'available' AND workers > 0 AND free = 0,
		format('All connected workers (%s) are busy.', workers)),
	(8, state = 'available' AND ahead > 0, format('Before it wait %s runs of its workflow and queue.', ahead)),
	(9, state = 'available' AND free > 0 AND coalesce(of_workflow < workflow_limit, true)
			AND coalesce(of_project < project_limit, true),
		format('Connected workers with capacity: %s. If it is not claimed within seconds, none of them serves queue %s.',
			free, queue)),
	-- It is in flight.
	(20, state = 'claimed', format('The run was claimed by worker %s %s ago, and has not started.', worker_name,
		interlock_duration(now() - claimed_at))),
	(21, state = 'claimed' AND joined_at IS NULL,
		'Its worker has not joined it yet; if it does not, the run is released after [claims] join_timeout.'),
	(22, state = 'started', format('The run was started by worker %s %s ago.', worker_name,
		interlock_duration(now() - greatest(claimed_at, least(started_at, now()))))),
	(23, state = 'started' AND open_jobs IS NOT NULL, format('It is at %s.', open_jobs)),
	(24, state IN ('claimed', 'started') AND lost_at IS NOT NULL,
		format('It was lost at %s, and revived.', to_char(lost_at, 'HH24:MI:SS'))),
	(25, state IN ('claimed', 'started') AND gone IS NOT NULL AND back_at IS NULL,
		format('%s ago %s; it has not come back.', interlock_duration(now() - gone_at), gone)),
	(26, state IN ('claimed', 'started') AND holder_silent AND (gone IS NULL OR back_at IS NOT NULL),
		format('Coordinator %s, which its worker was connected to, %s.', holder, coalesce(
			'was last seen ' || interlock_duration(now() - holder_seen_at) || ' ago', 'has stopped'))),
	(27, state IN ('claimed', 'started'), format('Its worker was last active %s ago.',
		interlock_duration(now() - active_at))),
	(28, state IN ('claimed', 'started'), format('It is lost if %sit is not complete in %s.',
		coalesce('its worker is silent for another ' || interlock_duration(lease_expires_at - now()) || ', or if ', ''), interlock_duration(deadline_at - now()))),
	-- It was lost.
	(40, state = 'lost', format('The run is lost. Worker %s claimed it at %s and was last active at %s.', worker_name,
		to_char(claimed_at, 'YYYY-MM-DD HH24:MI:SS TZ'), to_char(coalesce(last_active_at, active_at), 'HH24:MI:SS'))),
	(41, state = 'lost' AND gone IS NOT NULL AND gone_at <= loss_at, format('At %s %s%s.', to_char(gone_at, 'HH24:MI:SS'), gone,
		CASE WHEN back_at <= loss_at THEN format(', and it joined again at %s', to_char(back_at, 'HH24:MI:SS')) ELSE '' END)),
	(42, state = 'lost' AND gone IS NULL AND holder_silent, format('Coordinator %s, which its worker was connected to, %s.',
		holder, coalesce('was last seen at ' || to_char(holder_seen_at, 'HH24:MI:SS'), 'has stopped'))),
	(43, state = 'lost' AND (gone IS NULL AND NOT holder_silent OR back_at <= loss_at),
		'The worker''s socket was open when the run was lost.'),
	(44, state = 'lost' AND clock = 'lease',
		format('Its lease expired at %s, because nothing came from its worker, and %s later it was declared lost%s.',
			to_char(loss_at - overdue, 'HH24:MI:SS'), interlock_duration(overdue), ' by coordinator ' || lost_by)),
	(45, state = 'lost' AND clock = 'deadline',
		format('It was not complete by its deadline, %s, and %s later it was declared lost%s.',
			to_char(loss_at - overdue, 'HH24:MI:SS'), interlock_duration(overdue), ' by coordinator ' || lost_by)),
	(46, state = 'lost' AND late IS NULL, 'Nothing has come from its worker since: it may have died before or after the work.'),
	(47, state = 'lost' AND late IS NOT NULL, format('A %s.', late)),
	(48, state = 'lost' AND late IS NOT NULL AND late_event <> 'run:complete', 'No result has come.'),
	(49, state = 'lost' AND is_kept AND NOT is_decided AND kept_state IS NOT NULL,
		format('That result (%s) is kept, and can be accepted.', kept_state)),
	(50, state = 'lost' AND is_decided, format('%s discarded that result at %s.', coalesce(decided_by, 'An operator'),
		to_char(decided_at, 'YYYY-MM-DD HH24:MI:SS TZ'))),
	-- It has ended.
	(60, state NOT IN ('available', 'claimed', 'started', 'lost'), format('The run ended at %s: %s%s.',
		to_char(finished_at, 'YYYY-MM-DD HH24:MI:SS TZ'), state,
		coalesce(', ' || interlock_duration(finished_at - started_at) || ' after its start', ''))),
	(61, state NOT IN ('available', 'claimed', 'started', 'lost') AND error_type IS NOT NULL,
		format('Its worker reported %s%s.', error_type, coalesce(': ' || rtrim(error_message, '.'), ''))),
	(62, state = 'cancelled' AND claimed_at IS NULL, 'It was never claimed.'),
	(63, state NOT IN ('available', 'claimed', 'started', 'lost') AND lost_at IS NOT NULL,
		format('It had been lost at %s%s.', to_char(lost_at, 'YYYY-MM-DD HH24:MI:SS TZ'),
			coalesce(', since its ' || clock || ' had expired', ''))),
	(64, state NOT IN ('available', 'claimed', 'started', 'lost') AND lost_at IS NOT NULL,
		CASE WHEN ending_event = 'accept' THEN format('Its worker reported the result %s later, and %s accepted it at %s.',
				interlock_duration((SELECT lateness FROM kept)), coalesce(decided_by, 'an operator'),
				to_char(decided_at, 'YYYY-MM-DD HH24:MI:SS TZ'))
			WHEN late_event = 'run:complete' THEN format('Its worker reported the result %s later, and the policy %s applied it.',
				interlock_duration(late_by), late_policy)
			WHEN late_outcome = 'revived' THEN format('Its worker joined again %s later, and it went on.', interlock_duration(late_by))
			END)
	) AS s(n, said, text)
	WHERE s.said AND s.text IS NOT NULL
)
SELECT id AS run_id, state, clock, extract(epoch FROM overdue) AS overdue, lost_at, last_active_at, gone_at AS disconnected_at,
	gone_how AS disconnected_how, back_at AS joined_again_at, late_event, late_outcome, late_policy, late_at,
	extract(epoch FROM late_by) AS lateness, CASE WHEN state = 'lost' AND NOT is_decided THEN kept_state END AS late_result,
	CASE WHEN is_decided THEN decided END AS decided, CASE WHEN is_decided THEN decided_by END AS decided_by,
	CASE WHEN is_decided THEN decided_at END AS decided_at,
	(SELECT string_agg(text, ' ' ORDER BY n) FROM sentence) AS why
FROM x
