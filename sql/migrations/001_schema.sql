-- The schema. Names are OpenFn Lightning's where Lightning has them.
--
-- Tenancy is in the keys: the primary key of every hot table begins with project_id and foreign
-- keys are composite, so the database itself cannot tie a run to another project's dataclip. What a run
-- writes with every message has no foreign keys but those of outputs (steps.output_dataclip_id,
-- runs.final_dataclip_id): each would look up, lock and log a row that the statement has just looked at.
-- `interlock verify` checks the rest.
--
-- A run changes state without touching an index: no index reads a column that a transition
-- changes, and fillfactor leaves room on the page for all versions of a row's life, so that updates stay
-- HOT while a batch of neighbours lives at once: a run has four updates, a step and a work order one or
-- two. (The update that stores a final dataclip is not: see runs_final.) What waits to be claimed stands in `waiting`, what is in flight in `in_flight`: narrow rows, inserted
-- and deleted, never updated. Both are kept by the statements that move runs, and by a trigger for runs that
-- are inserted in any other way.
--
-- Runs under the migrating role, which owns everything. The daemon's role, `interlock`, owns
-- nothing; what it may do is granted at the end.

CREATE TABLE projects (
	id uuid PRIMARY KEY,
	name text NOT NULL,
	concurrency int CHECK (concurrency > 0),
	save_dataclips boolean NOT NULL DEFAULT true,
	options jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(options) = 'object'),
	inserted_at timestamptz NOT NULL DEFAULT now()
);

-- The id alone is unique too: it is the address that an operator or an application uses. An archived workflow gets no
-- new runs. What makes runs has the workflow's advisory lock shared, from before it looks whether it is archived; what
-- archives it has the lock alone, so that behind its commit there are no runs but those that are visible.
CREATE TABLE workflows (
	project_id uuid NOT NULL REFERENCES projects,
	id uuid NOT NULL UNIQUE,
	name text NOT NULL,
	concurrency int CHECK (concurrency > 0),
	lock_version int NOT NULL DEFAULT 0 CHECK (lock_version >= 0),
	snapshot_id uuid,
	archived_at timestamptz,
	inserted_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (project_id, id)
);

CREATE TABLE credentials (
	project_id uuid NOT NULL REFERENCES projects,
	id uuid NOT NULL,
	name text NOT NULL,
	body bytea NOT NULL,	-- sealed by AES-256-GCM; the id is authenticated with it
	inserted_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (project_id, id)
);

-- body: triggers, jobs and edges as the plan shows them, JSON text.
CREATE TABLE snapshots (
	project_id uuid NOT NULL,
	id uuid NOT NULL,
	workflow_id uuid NOT NULL,
	lock_version int NOT NULL,
	name text NOT NULL,
	body text NOT NULL,
	inserted_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (project_id, id),
	UNIQUE (project_id, workflow_id, lock_version),
	FOREIGN KEY (project_id, workflow_id) REFERENCES workflows
);

ALTER TABLE workflows ADD FOREIGN KEY (project_id, snapshot_id) REFERENCES snapshots;

-- The jobs of a snapshot: what a step may name, and which credential goes with it.
CREATE TABLE snapshot_jobs (
	project_id uuid NOT NULL,
	snapshot_id uuid NOT NULL,
	job_id uuid NOT NULL,
	name text NOT NULL,
	credential_id uuid,
	PRIMARY KEY (project_id, snapshot_id, job_id),
	FOREIGN KEY (project_id, snapshot_id) REFERENCES snapshots,
	FOREIGN KEY (project_id, credential_id) REFERENCES credentials
);

-- runnable: at least one enabled edge leaves it. The worker silently drops a run that starts at a
-- trigger without one, so such a run is refused when it is enqueued. keys: the SHA-256 digests, in hexadecimal
-- digits, of the keys that a webhook may use. Any of them will do, so that a key can be exchanged while webhooks
-- arrive; without any, no key is needed.
CREATE TABLE triggers (
	project_id uuid NOT NULL,
	id uuid NOT NULL UNIQUE,
	workflow_id uuid NOT NULL,
	type text NOT NULL CHECK (type IN ('webhook', 'cron', 'kafka')),
	enabled boolean NOT NULL DEFAULT true,
	runnable boolean NOT NULL,
	keys text[] NOT NULL DEFAULT '{}',
	PRIMARY KEY (project_id, id),
	FOREIGN KEY (project_id, workflow_id) REFERENCES workflows
);

CREATE INDEX triggers_workflow ON triggers (project_id, workflow_id);

-- body: the bytes as they came; NULL when they were never stored or have been wiped. source_id: what made it, and
-- with what it goes: a work order its input, a step its output, a run its final state; NULL: none of them, and so it
-- stays. It also tells a repetition from another's id. The second key serves the foreign key of outputs: when a
-- dataclip is deleted, that asks for one step by its primary key.
CREATE TABLE dataclips (
	project_id uuid NOT NULL,
	id uuid NOT NULL,
	type text NOT NULL
		CHECK (type IN ('http_request', 'kafka', 'global', 'step_result', 'saved_input')),
	body text,
	request text,
	source_id uuid,
	wiped_at timestamptz,
	inserted_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (project_id, id),
	UNIQUE (source_id, id, project_id)
);

-- pruned: what of it has been removed because its time was over, 1 for the texts of its dataclips, 2 for its log
-- lines, 3 for both. No foreign key for the input: the statement that makes a work order makes both, and deleting
-- a dataclip would have to look for work orders.
CREATE TABLE work_orders (
	project_id uuid NOT NULL,
	id uuid NOT NULL,
	workflow_id uuid NOT NULL,
	trigger_id uuid,
	dataclip_id uuid,
	state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'running', 'success',
		'failed', 'crashed', 'cancelled', 'killed', 'exception', 'lost')),
	last_activity timestamptz NOT NULL DEFAULT now(),
	pruned smallint NOT NULL DEFAULT 0,
	inserted_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (project_id, id),
	FOREIGN KEY (project_id, workflow_id) REFERENCES workflows
) WITH (fillfactor = 50);

-- What is due to be pruned, the oldest first. Not the ids: those may be the sender's. All rows are in it; the
-- condition keeps look-ups by the primary key, which do not say it, from ever being planned with this index.
CREATE INDEX work_orders_due ON work_orders (project_id, pruned, inserted_at) WHERE pruned >= 0;

-- seq orders runs by insertion. claim_id: made at random with each claim, so that no other claim ever has it;
-- NULL while the run is not claimed. A failover to a standby that lacks the last commits repeats epochs, and then
-- only the id tells the claims apart. unjoined_claims: of the claims that were released before their worker joined,
-- the newest 16. A worker that joins with one of them is refused; one whose claim ended otherwise gets an empty plan.
-- started_by_step: a step:start overtook the run:start, which is still accepted. The worker's clock is in started_at
-- and finished_at, the database's in the other times; there is no order between the two.
CREATE TABLE runs (
	project_id uuid NOT NULL,
	id uuid NOT NULL,
	seq bigint GENERATED ALWAYS AS IDENTITY,
	work_order_id uuid NOT NULL,
	workflow_id uuid NOT NULL,
	snapshot_id uuid NOT NULL,
	starting_node_id uuid NOT NULL,
	dataclip_id uuid,
	final_dataclip_id uuid,
	queue text NOT NULL DEFAULT 'default' CHECK (length(queue) BETWEEN 1 AND 100),
	priority smallint NOT NULL DEFAULT 1 CHECK (priority IN (0, 1)),	-- 0: immediate
	save_dataclips boolean NOT NULL DEFAULT true,
	options jsonb,
	run_timeout_ms int CHECK (run_timeout_ms > 0),
	state text NOT NULL DEFAULT 'available',
	revision int NOT NULL DEFAULT 0,
	claim_epoch int NOT NULL DEFAULT 0,
	claim_id uuid,
	unjoined_claims uuid[],
	requeues smallint NOT NULL DEFAULT 0,
	worker_name text,
	claimed_at timestamptz,
	joined_at timestamptz,
	joins int NOT NULL DEFAULT 0,
	started_at timestamptz,
	started_by_step boolean NOT NULL DEFAULT false,
	deadline_at timestamptz,
	lease_expires_at timestamptz,
	active_at timestamptz,
	finished_at timestamptz,
	finalized_at timestamptz,
	lost_at timestamptz,
	lost_from text CHECK (lost_from IN ('claimed', 'started')),
	error_type text,
	error_message text,
	versions text,
	inserted_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (project_id, id),
	FOREIGN KEY (project_id, work_order_id) REFERENCES work_orders,
	FOREIGN KEY (project_id, workflow_id) REFERENCES workflows,
	FOREIGN KEY (project_id, snapshot_id) REFERENCES snapshots,
	FOREIGN KEY (project_id, dataclip_id) REFERENCES dataclips,
	CONSTRAINT runs_final_dataclip_id_fkey
		FOREIGN KEY (project_id, final_dataclip_id) REFERENCES dataclips,
	CONSTRAINT runs_state_check CHECK (state IN ('available', 'claimed', 'started', 'success',
		'failed', 'crashed', 'cancelled', 'killed', 'exception', 'lost')),
	CONSTRAINT runs_claimed_check CHECK (state NOT IN ('claimed', 'started')
		OR claimed_at IS NOT NULL),
	CONSTRAINT runs_started_check CHECK (state <> 'started' OR started_at IS NOT NULL),
	CONSTRAINT runs_final_check CHECK (CASE WHEN state IN ('available', 'claimed', 'started')
		THEN finished_at IS NULL AND finalized_at IS NULL
		ELSE finished_at IS NOT NULL AND finalized_at IS NOT NULL END),
	CONSTRAINT runs_lost_check CHECK ((state = 'lost') = (lost_from IS NOT NULL))
) WITH (fillfactor = 45);

CREATE INDEX runs_work_order ON runs (project_id, work_order_id, seq);
CREATE INDEX runs_newest ON runs (seq);
-- Whose input, or final state, a dataclip is: asked when it is deleted.
CREATE INDEX runs_input ON runs (dataclip_id);
CREATE INDEX runs_final ON runs (final_dataclip_id) WHERE final_dataclip_id IS NOT NULL;

CREATE TABLE steps (
	project_id uuid NOT NULL,
	id uuid NOT NULL,
	run_id uuid NOT NULL,
	snapshot_id uuid NOT NULL,
	job_id uuid NOT NULL,
	credential_id uuid,
	input_dataclip_id uuid,
	output_dataclip_id uuid,
	exit_reason text,
	error_type text,
	error_message text,
	started_at timestamptz,
	finished_at timestamptz,
	inserted_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (project_id, id),
	CONSTRAINT steps_output_dataclip_id_fkey
		FOREIGN KEY (project_id, id, output_dataclip_id) REFERENCES dataclips (project_id, source_id, id),
	CONSTRAINT steps_exit_check CHECK ((exit_reason IS NULL) = (finished_at IS NULL))
) WITH (fillfactor = 50);

-- Finds the steps of the last day for the janitor's sweep; inserted_at does not change, so updates of a
-- step stay HOT.
CREATE INDEX steps_recent ON steps USING brin (inserted_at) WITH (pages_per_range = 16, autosummarize = on);

CREATE INDEX steps_run ON steps (run_id);

-- For those who know Lightning, where it is a table.
CREATE VIEW run_steps AS SELECT project_id, run_id, id AS step_id FROM steps;

-- id is a UUID of version 7, made at receipt: its time is the day's partition, and the key is the order in which the
-- lines came. No foreign keys: the statement that stores a line has looked at its run and step, `interlock verify`
-- looks again, and a partition that is dropped asks no other table.
CREATE TABLE log_lines (
	project_id uuid NOT NULL,
	run_id uuid NOT NULL,
	id uuid NOT NULL,
	step_id uuid,
	level text NOT NULL,
	source text,
	message text NOT NULL,
	timestamp timestamptz NOT NULL,
	PRIMARY KEY (project_id, run_id, id)
) PARTITION BY RANGE (id);

-- The journal: append-only, one row for each thing that was decided about a run. id follows the order
-- of insertion, xid tells a reader which rows may still have older neighbours in progress.
CREATE TABLE transitions (
	id bigint NOT NULL,
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
	project_id uuid NOT NULL,
	run_id uuid NOT NULL,
	revision int NOT NULL,
	step_id uuid,
	event text NOT NULL,
	from_state text,
	to_state text,
	outcome text NOT NULL,
	code text,
	policy text,
	worker text,
	epoch int,
	coordinator text DEFAULT current_setting('interlock.coordinator', true),
	worker_at timestamptz,
	lateness interval,
	message text,
	PRIMARY KEY (project_id, run_id, id, at)
) PARTITION BY RANGE (at);

CREATE SEQUENCE transitions_id OWNED BY transitions.id;
ALTER TABLE transitions ALTER id SET DEFAULT nextval('transitions_id');

-- The smallest id (version 7, RFC 9562) of a moment; the ids of a day lie between that of its midnight and the next.
CREATE FUNCTION interlock_uuid_at(moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT AS $$
	SELECT rpad(encode(substring(int8send((extract(epoch FROM moment) * 1000)::bigint) FROM 3), 'hex'), 32, '0')::uuid
$$;

-- The id, moved by whole days until its time is within half a day of now. So a line of a coordinator whose clock is
-- wrong has a partition too, its neighbours keep their order, and the same line sent again gets the same id.
CREATE FUNCTION interlock_uuid_near(id uuid) RETURNS uuid LANGUAGE sql STABLE STRICT AS $$
	SELECT overlay(encode(uuid_send(id), 'hex') PLACING encode(substring(int8send(
		ms + round((extract(epoch FROM now()) * 1000 - ms) / 86400000)::bigint * 86400000) FROM 3), 'hex') FROM 1)::uuid
	FROM (SELECT ('x' || left(encode(uuid_send(id), 'hex'), 12))::bit(48)::bigint AS ms) t
$$;

-- Makes the day's partitions of the log and the journal, up to a week ahead. ATTACH takes no lock that a message
-- waits for; CREATE … PARTITION OF would. The advisory lock keeps two coordinators from making the same one. The
-- journal's newest rows are found without reading a day of them by a BRIN index, whose size hardly grows with the rows.
CREATE FUNCTION interlock_make_partitions() RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET timezone = 'UTC' AS $$
DECLARE
	parent text;
	day date;
	part text;
	made int := 0;
BEGIN
	PERFORM pg_advisory_xact_lock(hashtext('interlock partitions'));
	FOR parent, day IN
		SELECT p, d
		FROM unnest(ARRAY['log_lines', 'transitions']) p,
			generate_series(current_date - 1, current_date + 7, '1 day') d
	LOOP
		part := parent || to_char(day, '_YYYYMMDD');
		CONTINUE WHEN to_regclass(part) IS NOT NULL;
		EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS '
			'INCLUDING INDEXES INCLUDING COMPRESSION)', part, parent);
		IF parent = 'transitions' THEN
			EXECUTE format('CREATE INDEX ON %I USING brin (at) WITH (pages_per_range = 16, autosummarize = on)',
				part);
			EXECUTE format('ALTER TABLE transitions ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
				part, day::timestamptz, (day + 1)::timestamptz);
		ELSE
			EXECUTE format('ALTER TABLE log_lines ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
				part, interlock_uuid_at(day), interlock_uuid_at(day + 1));
		END IF;
		made := made + 1;
	END LOOP;
	RETURN made;
END $$;

-- Has the run logged anything? A function, because a statement locks every partition that it names, whether it
-- comes to look into them or not. The lines are not older than the claim's join, give or take what
-- interlock_uuid_near moves.
CREATE FUNCTION interlock_has_logged(project uuid, run uuid, joined_at timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN EXISTS (SELECT FROM log_lines l WHERE l.project_id = project AND l.run_id = run
		AND l.id >= interlock_uuid_at(joined_at - interval '1 day'));
END $$;

-- How many messages about a run changed nothing: refused, repeated, too late. The journal has the first few of each
-- kind; the rest is only counted here, so that a worker cannot fill the disk. n counts all of them; revision, state
-- and at are those of the last one; code is '' if there is none.
CREATE TABLE journal_counts (
	project_id uuid NOT NULL,
	run_id uuid NOT NULL,
	event text NOT NULL CHECK (event IN ('phx_join', 'run:start', 'run:complete', 'step:start',
		'step:complete', 'disconnect')),
	outcome text NOT NULL CHECK (outcome IN ('accepted', 'implicit', 'replayed', 'yielded', 'too_late',
		'observed', 'refused', 'noted')),
	code text NOT NULL,
	n bigint NOT NULL DEFAULT 1 CHECK (n > 0),
	revision int NOT NULL,
	state text NOT NULL CHECK (state IN ('available', 'claimed', 'started', 'success', 'failed',
		'crashed', 'cancelled', 'killed', 'exception', 'lost')),
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (project_id, run_id, event, outcome, code)
) WITH (fillfactor = 50);

-- The available runs. The primary key is the order in which they are claimed.
--
-- `waiting` and `in_flight` have few rows and many dead ones, which a claim has to step over. So they are
-- vacuumed after a fixed number of dead rows and without pauses, always with their indexes (a vacuum leaves an index alone when fewer
-- than one page in fifty of the table has dead rows), and keep their empty pages, because giving them back takes
-- a lock that every message would wait for. No foreign keys to runs: deleting a run would have to search them.
CREATE TABLE waiting (
	project_id uuid NOT NULL,
	workflow_id uuid NOT NULL,
	queue text NOT NULL,
	priority smallint NOT NULL,
	seq bigint NOT NULL,
	run_id uuid NOT NULL,
	PRIMARY KEY (project_id, workflow_id, queue, priority, seq)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
	autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off, vacuum_index_cleanup = on);

-- The runs that are claimed or started: counted for the limits, searched by the janitor.
CREATE TABLE in_flight (
	project_id uuid NOT NULL,
	workflow_id uuid NOT NULL,
	run_id uuid NOT NULL,
	PRIMARY KEY (project_id, workflow_id, run_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
	autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off, vacuum_index_cleanup = on);

-- When each project was last served, for fairness: a counter, not a time.
CREATE TABLE turns (
	project_id uuid PRIMARY KEY REFERENCES projects,
	last_served bigint NOT NULL
) WITH (fillfactor = 50);

CREATE SEQUENCE turn;

-- policy: a digest of the options that decide about late messages; two coordinators with different ones would
-- decide differently about the same message. workers: those that are connected, a JSON array, as of seen_at.
CREATE TABLE coordinators (
	name text PRIMARY KEY CHECK (name <> ''),
	policy text NOT NULL CHECK (policy <> ''),
	started_at timestamptz NOT NULL,
	seen_at timestamptz NOT NULL,
	workers text NOT NULL CHECK (json_typeof(workers::json) = 'array')
) WITH (fillfactor = 50);

-- Lost runs that do not save dataclips: their input is wiped once they can no longer be revived.
CREATE TABLE wipes (
	project_id uuid NOT NULL,
	run_id uuid NOT NULL,
	PRIMARY KEY (project_id, run_id),
	FOREIGN KEY (project_id, run_id) REFERENCES runs
);

-- A run that is inserted as available enters `waiting`, whichever session inserts it.
CREATE FUNCTION runs_wait() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
	INSERT INTO waiting (project_id, workflow_id, queue, priority, seq, run_id)
	SELECT project_id, workflow_id, queue, priority, seq, id
	FROM inserted WHERE state = 'available';
	RETURN NULL;
END $$;

CREATE TRIGGER runs_wait AFTER INSERT ON runs
	REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION runs_wait();

-- The only NOTIFY: empty, and only where runs become available (commits that notify are
-- serialized across the whole cluster).
CREATE FUNCTION waiting_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NOTIFY interlock_waiting;
	RETURN NULL;
END $$;

CREATE TRIGGER waiting_notify AFTER INSERT ON waiting
	FOR EACH STATEMENT EXECUTE FUNCTION waiting_notify();

-- Version 7 (RFC 9562): new rows of a project stand at the right edge of its indexes.
CREATE FUNCTION interlock_uuid() RETURNS uuid LANGUAGE sql VOLATILE AS $$
	SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
		PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
		FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid
$$;

-- The late policy that applies at that moment to a message about a run lost at that time: after the window, `yield`
-- becomes `acknowledge`. The daemon's statements and `interlock policy --what-if` decide by it.
CREATE FUNCTION interlock_late_policy(policy text, window_us bigint, lost_at timestamptz, moment timestamptz)
RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN policy = 'yield' AND window_us > 0
			AND moment > lost_at + window_us * interval '1 microsecond'
		THEN 'acknowledge' ELSE policy END
$$;

-- A duration as people write it: 450ms, 3.2s, 4m 12s, 2h 5m, 3d 4h. The command shows durations in the same form.
CREATE FUNCTION interlock_duration(d interval) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$
	SELECT CASE WHEN s < 0 THEN '-' ELSE '' END || CASE
		WHEN abs(s) < 1 THEN round(abs(s) * 1000) || 'ms'
		WHEN abs(s) < 60 THEN round(abs(s), 1) || 's'
		WHEN abs(s) < 3600 THEN format('%sm %ss', div(abs(s), 60), div(abs(s), 1) % 60)
		WHEN abs(s) < 86400 THEN format('%sh %sm', div(abs(s), 3600), div(abs(s), 60) % 60)
		ELSE format('%sd %sh', div(abs(s), 86400), div(abs(s), 3600) % 24)
		END
	FROM (SELECT extract(epoch FROM d) AS s) x
$$;

-- A message of the journal; NULL where nothing was kept of it, or where secrets were replaced in such a way that what
-- is left is not JSON.
CREATE FUNCTION interlock_journal_message(message text) RETURNS json LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RETURN nullif(message, '')::json;
EXCEPTION
	WHEN invalid_text_representation THEN RETURN NULL;
END $$;

CREATE TABLE idempotency_keys (
	project_id uuid NOT NULL,
	trigger_id uuid NOT NULL,
	key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
	work_order_id uuid NOT NULL,
	run_id uuid NOT NULL,
	inserted_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (project_id, trigger_id, key)
);

-- A key goes with its work order.
CREATE INDEX idempotency_keys_work_order ON idempotency_keys (work_order_id);

-- A dataclip, a work order and a run of the workflow's newest snapshot, with the ids that are given. `input` and
-- `request` are JSON already; `trigger` NULL: the workflow's first runnable trigger. An idempotency key, or a
-- work order, that the trigger had before answers what it made then. A work order of the project that is another
-- trigger's is neither changed nor shown: both ids come back NULL. (The same id in another project is another work
-- order: the key begins with the project.) If the workflow is archived, only run_id comes back NULL.
CREATE FUNCTION interlock_make_work_order(
	workflow uuid,
	input text,
	priority text,
	queue text,
	trigger uuid,
	type text,
	request text,
	idempotency_key text,
	dataclip uuid,
	INOUT work_order_id uuid,
	INOUT run_id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_variable
DECLARE
	w record;
	t record;
	first record;
	made bigint;
BEGIN
	IF priority NOT IN ('normal', 'immediate') THEN
		RAISE 'priority "%" is neither normal nor immediate', priority USING ERRCODE = '22023';
	END IF;
	PERFORM pg_advisory_xact_lock_shared(hashtext('interlock workflow'), hashtext(workflow::text));
	SELECT f.project_id, f.id, f.snapshot_id, f.archived_at, p.save_dataclips, p.options INTO w
	FROM workflows f JOIN projects p ON p.id = f.project_id
	WHERE f.id = workflow AND f.snapshot_id IS NOT NULL;
	IF NOT FOUND THEN
		RAISE 'no workflow %', workflow USING ERRCODE = 'P0002';
	END IF;
	IF w.archived_at IS NOT NULL THEN
		run_id := NULL;
		RETURN;
	END IF;
	SELECT g.id INTO t FROM triggers g
	WHERE g.project_id = w.project_id AND g.workflow_id = w.id AND g.runnable
		AND (trigger IS NULL OR g.id = trigger)
	ORDER BY g.enabled DESC, g.id LIMIT 1;
	IF NOT FOUND THEN
		RAISE 'workflow % has no such trigger with an enabled edge', workflow
			USING ERRCODE = 'P0002';
	END IF;

	IF idempotency_key IS NOT NULL THEN
		LOOP	-- the key that is in the way may be pruned before it is read
			INSERT INTO idempotency_keys (project_id, trigger_id, key, work_order_id, run_id)
			VALUES (w.project_id, t.id, idempotency_key, work_order_id, run_id)
			ON CONFLICT DO NOTHING;
			EXIT WHEN FOUND;
			SELECT k.work_order_id, k.run_id INTO first
			FROM idempotency_keys k
			WHERE k.project_id = w.project_id AND k.trigger_id = t.id AND k.key = idempotency_key;
			IF FOUND THEN
				work_order_id := first.work_order_id;
				run_id := first.run_id;
				RETURN;
			END IF;
		END LOOP;
	END IF;

	WITH ordered AS (
		INSERT INTO work_orders (project_id, id, workflow_id, trigger_id, dataclip_id)
		VALUES (w.project_id, work_order_id, w.id, t.id, dataclip)
		ON CONFLICT DO NOTHING
		RETURNING 1
	), clip AS (
		INSERT INTO dataclips (project_id, id, type, body, request, source_id)
		SELECT w.project_id, dataclip, type, input, request, work_order_id FROM ordered
	), run AS (
		INSERT INTO runs (project_id, id, work_order_id, workflow_id, snapshot_id, starting_node_id,
			dataclip_id, queue, priority, save_dataclips, options, run_timeout_ms)
		SELECT w.project_id, run_id, work_order_id, w.id, w.snapshot_id, t.id,
			dataclip, queue, (priority = 'normal')::int, w.save_dataclips, w.options,
			(w.options->>'run_timeout_ms')::int
		FROM ordered
	)
	SELECT count(*) INTO made FROM ordered;
	IF made = 1 THEN
		RETURN;
	END IF;

	SELECT r.id INTO run_id
	FROM work_orders o JOIN runs r ON r.project_id = o.project_id AND r.work_order_id = o.id
	WHERE o.project_id = w.project_id AND o.id = work_order_id AND o.trigger_id = t.id
	ORDER BY r.seq LIMIT 1;
	IF FOUND THEN
		UPDATE idempotency_keys k SET run_id = run_id
		WHERE k.project_id = w.project_id AND k.trigger_id = t.id AND k.key = idempotency_key;
	ELSE
		DELETE FROM idempotency_keys k
		WHERE k.project_id = w.project_id AND k.trigger_id = t.id AND k.key = idempotency_key;
		work_order_id := NULL;
	END IF;
END $$;

-- Raises if the text is not JSON as the worker will read it. The type json, unlike jsonb, takes every escape that
-- is well formed, as the webhook does: \u0000, and half of a surrogate pair.
CREATE FUNCTION interlock_check_json(name text, value text) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF value IS NULL THEN
		RAISE '% is NULL, which is not JSON', name USING ERRCODE = '22032';
	END IF;
	PERFORM value::json;
EXCEPTION
	WHEN SQLSTATE '22032' THEN RAISE;
	WHEN OTHERS THEN RAISE '% is not JSON: %', name, SQLERRM USING ERRCODE = '22032';
END $$;

-- For applications, inside their own transaction, and for the command line. `work_order`: an id for it, made by
-- the caller; the same call with the same id changes nothing and answers the same ids, as does a repeated key.
CREATE FUNCTION interlock_enqueue(
	workflow uuid,
	input text DEFAULT '{}',
	priority text DEFAULT 'normal',
	queue text DEFAULT 'default',
	trigger uuid DEFAULT NULL,
	type text DEFAULT 'saved_input',
	request text DEFAULT NULL,
	idempotency_key text DEFAULT NULL,
	work_order uuid DEFAULT NULL,
	OUT work_order_id uuid,
	OUT run_id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_variable
BEGIN
	PERFORM interlock_check_json('input', input);
	IF request IS NOT NULL THEN
		PERFORM interlock_check_json('request', request);
	END IF;
	SELECT * INTO work_order_id, run_id FROM interlock_make_work_order(workflow, input, priority, queue,
		trigger, type, request, idempotency_key, interlock_uuid(),
		coalesce(work_order, interlock_uuid()), interlock_uuid());
	IF work_order_id IS NULL THEN
		RAISE 'work order % is not of this trigger', work_order USING ERRCODE = '23505';
	ELSIF run_id IS NULL THEN
		RAISE 'workflow % is archived', workflow USING ERRCODE = '55000';
	END IF;
END $$;

COMMENT ON FUNCTION interlock_enqueue IS
	'Makes a work order with a run; repeated with the same idempotency_key or work_order it answers the first one';

-- Adds a run to the work order of each of these runs, on its workflow's newest snapshot; a row for each, in their
-- order. All work orders are locked before anything is looked at, and in the order in which the coordinators lock
-- them, or the two would wait for each other.
CREATE FUNCTION interlock_retry_all(runs uuid[]) RETURNS TABLE (work_order_id uuid, run_id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_variable
DECLARE
	run uuid;
	r record;
BEGIN
	PERFORM FROM work_orders o
	WHERE (o.project_id, o.id) IN (SELECT x.project_id, x.work_order_id
		FROM projects p JOIN runs x ON x.project_id = p.id AND x.id = ANY (runs))
	ORDER BY o.project_id, o.id
	FOR NO KEY UPDATE;
	FOREACH run IN ARRAY runs LOOP
		SELECT o.*, w.snapshot_id AS newest, d.wiped_at INTO r
		FROM projects p
		JOIN runs o ON o.project_id = p.id AND o.id = run
		JOIN workflows w ON w.project_id = o.project_id AND w.id = o.workflow_id
		LEFT JOIN dataclips d ON d.project_id = o.project_id AND d.id = o.dataclip_id;
		IF NOT FOUND THEN
			RAISE 'no run %', run USING ERRCODE = 'P0002';
		END IF;
		PERFORM pg_advisory_xact_lock_shared(hashtext('interlock workflow'), hashtext(r.workflow_id::text));
		IF EXISTS (SELECT FROM workflows w
				WHERE w.project_id = r.project_id AND w.id = r.workflow_id AND w.archived_at IS NOT NULL) THEN
			RAISE 'the workflow of run % is archived', run USING ERRCODE = '55000';
		END IF;
		IF r.wiped_at IS NOT NULL THEN
			RAISE 'the input of run % has been wiped', run USING ERRCODE = '55000';
		END IF;
		IF NOT EXISTS (SELECT FROM triggers g WHERE g.project_id = r.project_id
				AND g.workflow_id = r.workflow_id AND g.id = r.starting_node_id AND g.runnable) THEN
			RAISE 'the trigger that run % started at has no enabled edge any more', run
				USING ERRCODE = '55000';
		END IF;
		work_order_id := r.work_order_id;
		run_id := interlock_uuid();
		INSERT INTO runs (project_id, id, work_order_id, workflow_id, snapshot_id, starting_node_id,
			dataclip_id, queue, priority, save_dataclips, options, run_timeout_ms)
		VALUES (r.project_id, run_id, r.work_order_id, r.workflow_id, r.newest, r.starting_node_id,
			r.dataclip_id, r.queue, r.priority, r.save_dataclips, r.options,
			(r.options->>'run_timeout_ms')::int);
		UPDATE work_orders o SET state = 'pending', last_activity = now()
		WHERE o.project_id = r.project_id AND o.id = r.work_order_id AND o.state <> 'running';
		RETURN NEXT;
	END LOOP;
END $$;

COMMENT ON FUNCTION interlock_retry_all IS
	'Adds a run to the work order of each of these runs; for more than one in a transaction';

CREATE FUNCTION interlock_retry(run uuid, OUT work_order_id uuid, OUT run_id uuid)
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
	SELECT * FROM interlock_retry_all(ARRAY[run])
$$;

COMMENT ON FUNCTION interlock_retry IS
	'Adds a run to the work order of an earlier one; several in a transaction: interlock_retry_all';

-- -- Retention ---------------------------------------------------------------------------------------------

-- Of a project's work orders those whose `what` is to go: final, and without activity for as long as `keep`. Runs:
-- all of it, dataclips: the texts of its dataclips, logs: its log lines. The oldest come first, and no more than
-- `most` for each value of `pruned`; those whose `what` has gone are not looked at again.
CREATE FUNCTION interlock_due(project uuid, what text, keep interval, most int)
RETURNS TABLE (id uuid, since timestamptz)
LANGUAGE sql STABLE AS $$
	SELECT o.id, o.since
	FROM generate_series(0, 3) already
	CROSS JOIN LATERAL (
		SELECT w.id, greatest(w.inserted_at, w.last_activity) AS since
		FROM work_orders w
		WHERE w.project_id = project AND w.pruned = already AND w.pruned >= 0
			AND w.inserted_at < now() - keep AND w.last_activity < now() - keep
			AND w.state NOT IN ('pending', 'running')
			AND NOT EXISTS (SELECT FROM runs r WHERE r.project_id = project AND r.work_order_id = w.id
				AND r.state IN ('available', 'claimed', 'started'))
		ORDER BY w.inserted_at
		LIMIT most) o
	WHERE (already & CASE what WHEN 'dataclips' THEN 1 WHEN 'logs' THEN 2 ELSE 0 END) = 0
$$;

-- The dataclips that go with these work orders, runs and steps of a project: each with what made it, unless another run
-- has it as its input or final state; then it goes with the last of those. Such runs are looked up by the dataclip
-- alone (OFFSET 0): a plan by the project would read all of its runs.
CREATE FUNCTION interlock_dataclips_of(project uuid, order_ids uuid[], run_ids uuid[], step_ids uuid[]) RETURNS uuid[]
LANGUAGE sql STABLE AS $$
	SELECT array_agg(d.id)
	FROM (SELECT c.id FROM dataclips c
		WHERE c.project_id = project AND c.source_id = ANY (order_ids || run_ids || step_ids)
		UNION
		SELECT c.id FROM dataclips c
		WHERE c.project_id = project AND c.id = ANY (ARRAY(
				SELECT unnest(ARRAY[r.dataclip_id, r.final_dataclip_id]) FROM runs r
				WHERE r.project_id = project AND r.id = ANY (run_ids)))
			AND c.source_id IS NOT NULL
			AND NOT EXISTS (SELECT FROM work_orders w WHERE w.project_id = project AND w.id = c.source_id)
			AND NOT EXISTS (SELECT FROM runs r WHERE r.project_id = project AND r.id = c.source_id)
			AND NOT EXISTS (SELECT FROM steps s WHERE s.project_id = project AND s.id = c.source_id)) d
	WHERE NOT EXISTS (SELECT FROM (SELECT r.project_id, r.id FROM runs r WHERE r.dataclip_id = d.id OFFSET 0) o
			WHERE o.project_id = project AND o.id <> ALL (run_ids))
		AND NOT EXISTS (SELECT FROM (SELECT r.project_id, r.id FROM runs r WHERE r.final_dataclip_id = d.id OFFSET 0) o
			WHERE o.project_id = project AND o.id <> ALL (run_ids))
$$;

-- Deletes these work orders of a project with all that belongs to them, the journal too if it is asked for; the number
-- of rows of each table comes back. The caller has locked them in this transaction by an earlier statement, so what is decided here
-- stays true. A work order with a run that is not over is left as it is. Without bitmaps, because those would read all
-- of the project from an index whenever the statistics are older than its rows.
CREATE FUNCTION interlock_delete_work_orders(project uuid, orders uuid[], journal boolean, OUT work_orders bigint,
	OUT runs bigint, OUT steps bigint, OUT dataclips bigint, OUT log_lines bigint, OUT transitions bigint,
	OUT idempotency_keys bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
	order_ids uuid[] := ARRAY(SELECT o FROM unnest(orders) o
		WHERE NOT EXISTS (SELECT FROM runs r WHERE r.project_id = project AND r.work_order_id = o
			AND r.state IN ('available', 'claimed', 'started') OFFSET 0));
	run_ids uuid[] := ARRAY(SELECT r.id FROM unnest(order_ids) o CROSS JOIN LATERAL (
		SELECT x.id FROM runs x WHERE x.project_id = project AND x.work_order_id = o OFFSET 0) r);
	step_ids uuid[] := ARRAY(
		SELECT s.id FROM (SELECT t.id, t.project_id FROM steps t WHERE t.run_id = ANY (run_ids) OFFSET 0) s
		WHERE s.project_id = project);
	clip_ids uuid[] := interlock_dataclips_of(project, order_ids, run_ids, step_ids);
BEGIN
	DELETE FROM log_lines l WHERE l.project_id = project AND l.run_id = ANY (run_ids);
	GET DIAGNOSTICS log_lines = ROW_COUNT;
	IF journal THEN
		DELETE FROM transitions t WHERE t.project_id = project AND t.run_id = ANY (run_ids);
		GET DIAGNOSTICS transitions = ROW_COUNT;
	END IF;
	DELETE FROM journal_counts c WHERE c.project_id = project AND c.run_id = ANY (run_ids);
	DELETE FROM wipes w WHERE w.project_id = project AND w.run_id = ANY (run_ids);
	DELETE FROM steps s WHERE s.project_id = project AND s.id = ANY (step_ids);
	GET DIAGNOSTICS steps = ROW_COUNT;
	DELETE FROM runs r WHERE r.project_id = project AND r.id = ANY (run_ids);
	GET DIAGNOSTICS runs = ROW_COUNT;
	DELETE FROM idempotency_keys k WHERE k.project_id = project AND k.work_order_id = ANY (order_ids);
	GET DIAGNOSTICS idempotency_keys = ROW_COUNT;
	DELETE FROM dataclips d WHERE d.project_id = project AND d.id = ANY (clip_ids);
	GET DIAGNOSTICS dataclips = ROW_COUNT;
	DELETE FROM work_orders w WHERE w.project_id = project AND w.id = ANY (order_ids);
	GET DIAGNOSTICS work_orders = ROW_COUNT;
END $$;

-- Removes what is due of at most so many work orders of a project, in this transaction: a row for each table, with
-- the number of its rows that are gone; `work_orders` counts those that were looked after. No row: another session
-- is pruning. What another transaction has locked is left for the next time, so that no message waits for this and
-- this waits for no message; what is locked is looked at again, so that a retry before it keeps its work order and
-- one behind it finds none. Transactions are as large as `most` makes them.
CREATE FUNCTION interlock_prune(project uuid, what text, keep interval, most int)
RETURNS TABLE (name text, n bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
	order_ids uuid[];
	run_ids uuid[];
	step_ids uuid[];
	clip_ids uuid[];
	gone record;
BEGIN
	IF NOT pg_try_advisory_xact_lock(hashtext('interlock prune')) THEN
		RETURN;
	END IF;
	SELECT array_agg(l.id) INTO order_ids
	FROM (SELECT w.id FROM work_orders w
		WHERE w.project_id = project AND w.id = ANY (ARRAY(SELECT d.id FROM interlock_due(project, what, keep, most) d LIMIT most))
			AND w.last_activity < now() - keep AND w.state NOT IN ('pending', 'running')
		FOR UPDATE SKIP LOCKED) l;
	IF what = 'runs' THEN
		SELECT * INTO gone FROM interlock_delete_work_orders(project, coalesce(order_ids, '{}'), false);
		RETURN QUERY VALUES ('log_lines', gone.log_lines), ('steps', gone.steps), ('runs', gone.runs),
			('idempotency_keys', gone.idempotency_keys), ('dataclips', gone.dataclips),
			('work_orders', gone.work_orders);
		RETURN;
	END IF;
	-- A run may have been inserted between the look and the lock.
	SELECT array_agg(o) INTO order_ids FROM unnest(order_ids) o
	WHERE NOT EXISTS (SELECT FROM runs r WHERE r.project_id = project AND r.work_order_id = o
		AND r.state IN ('available', 'claimed', 'started') OFFSET 0);
	SELECT array_agg(r.id) INTO run_ids FROM unnest(order_ids) o CROSS JOIN LATERAL (
		SELECT x.id FROM runs x WHERE x.project_id = project AND x.work_order_id = o OFFSET 0) r;
	IF what = 'logs' THEN
		DELETE FROM log_lines l WHERE l.project_id = project AND l.run_id = ANY (run_ids);
		name := 'log_lines';
	ELSE
		SELECT array_agg(s.id) INTO step_ids
		FROM (SELECT t.id, t.project_id FROM steps t WHERE t.run_id = ANY (run_ids) OFFSET 0) s
		WHERE s.project_id = project;
		clip_ids := interlock_dataclips_of(project, order_ids, run_ids, step_ids);
		UPDATE dataclips c SET body = NULL, request = NULL, wiped_at = now()
		WHERE c.project_id = project AND c.id = ANY (clip_ids) AND c.wiped_at IS NULL;
		name := 'dataclips';
	END IF;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN NEXT;
	UPDATE work_orders w SET pruned = w.pruned | CASE what WHEN 'dataclips' THEN 1 ELSE 2 END
	WHERE w.project_id = project AND w.id = ANY (order_ids);
	name := 'work_orders'; n := coalesce(cardinality(order_ids), 0); RETURN NEXT;
END $$;

-- Drops the oldest partition of the log or the journal, if every row in it is older than `keep`; its name, or NULL. The
-- table is locked for that, as briefly as messages lock it: they hardly wait, and where a session reads it for longer,
-- the partition stays until the next time.
CREATE FUNCTION interlock_drop_partition(parent text, keep interval, OUT dropped text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET timezone = 'UTC' SET lock_timeout = '20ms' AS $$
BEGIN
	IF NOT pg_try_advisory_xact_lock(hashtext('interlock prune')) THEN
		RETURN;
	END IF;
	SELECT c.relname INTO dropped
	FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
	WHERE i.inhparent = to_regclass(parent) AND parent IN ('log_lines', 'transitions')
		AND c.relname ~ '_[0-9]{8}$' AND to_date(right(c.relname, 8), 'YYYYMMDD') + 1 <= now() - keep
	ORDER BY c.relname LIMIT 1;
	IF dropped IS NOT NULL THEN
		EXECUTE format('DROP TABLE %I', dropped);
	END IF;
EXCEPTION
	WHEN lock_not_available THEN dropped := NULL;
END $$;

-- lz4 costs a fraction of what the server's default takes. A server that was built without it compresses in its
-- own way: slower, and nothing else (`interlock check` says so).
DO $$
DECLARE
	large record;
BEGIN
	FOR large IN SELECT * FROM (VALUES
			('snapshots', 'body'),
			('dataclips', 'body'),
			('dataclips', 'request'),
			('log_lines', 'message'),
			('transitions', 'message'),
			('coordinators', 'workers')) AS c(of_table, of_column)
	LOOP
		EXECUTE format('ALTER TABLE %I ALTER %I SET COMPRESSION lz4', large.of_table, large.of_column);
	END LOOP;
EXCEPTION
	WHEN feature_not_supported THEN RAISE NOTICE 'large texts are compressed by pglz: %', SQLERRM;
END $$;

SELECT interlock_make_partitions();

-- What an operator sees with \d+.
COMMENT ON TABLE schema_migrations IS 'The migrations that are applied';
COMMENT ON COLUMN schema_migrations.version IS 'Number of the migration; the highest is the version of the schema';
COMMENT ON COLUMN schema_migrations.name IS 'Its file';
COMMENT ON COLUMN schema_migrations.applied_at IS 'When';
COMMENT ON COLUMN schema_migrations.serves IS 'Builds for this version of the schema and later ones may work on it; 0: all';
COMMENT ON TABLE projects IS 'Projects, imported from their configuration';
COMMENT ON COLUMN projects.concurrency IS 'At most so many of its runs are in flight; NULL: no limit';
COMMENT ON COLUMN projects.save_dataclips IS 'Whether inputs and outputs of its runs are kept';
COMMENT ON COLUMN projects.options IS 'Options that its runs are given, such as run_timeout_ms';
COMMENT ON TABLE workflows IS 'Workflows; a new version is a new snapshot';
COMMENT ON COLUMN workflows.concurrency IS 'At most so many of its runs are in flight; NULL: no limit';
COMMENT ON COLUMN workflows.lock_version IS 'Version of the newest snapshot';
COMMENT ON COLUMN workflows.snapshot_id IS 'The newest snapshot, which new runs execute';
COMMENT ON COLUMN workflows.archived_at IS 'Since when it gets no new runs; NULL: it gets them';
COMMENT ON TABLE credentials IS 'Credentials of jobs, encrypted';
COMMENT ON COLUMN credentials.body IS 'Encrypted by AES-256-GCM with the credential key; the id is authenticated with it';
COMMENT ON TABLE snapshots IS 'Immutable versions of workflows';
COMMENT ON COLUMN snapshots.lock_version IS 'Version of the workflow';
COMMENT ON COLUMN snapshots.body IS 'Triggers, jobs and edges, JSON';
COMMENT ON TABLE snapshot_jobs IS 'The jobs of a snapshot';
COMMENT ON COLUMN snapshot_jobs.job_id IS 'What a step names';
COMMENT ON COLUMN snapshot_jobs.credential_id IS 'The credential that the job may use';
COMMENT ON TABLE triggers IS 'What starts runs of a workflow';
COMMENT ON COLUMN triggers.type IS 'webhook, cron or kafka';
COMMENT ON COLUMN triggers.enabled IS 'Whether webhooks are accepted';
COMMENT ON COLUMN triggers.runnable IS 'At least one enabled edge leads from it';
COMMENT ON COLUMN triggers.keys IS 'SHA-256 digests of the keys of which a webhook needs one; empty: it needs none';
COMMENT ON TABLE dataclips IS 'Inputs, outputs and final states, JSON';
COMMENT ON COLUMN dataclips.type IS 'Where it comes from';
COMMENT ON COLUMN dataclips.body IS 'The text as it arrived; NULL: not stored, or wiped';
COMMENT ON COLUMN dataclips.request IS 'Method, path and headers of the webhook, JSON';
COMMENT ON COLUMN dataclips.source_id IS 'The work order whose input, the step whose output, or the run whose final state it is';
COMMENT ON COLUMN dataclips.wiped_at IS 'When the text was wiped, or not stored';
COMMENT ON TABLE work_orders IS 'Requests to execute a workflow; each retry adds a run';
COMMENT ON COLUMN work_orders.trigger_id IS 'The trigger it came by';
COMMENT ON COLUMN work_orders.dataclip_id IS 'Its input';
COMMENT ON COLUMN work_orders.state IS 'Follows from its runs';
COMMENT ON COLUMN work_orders.last_activity IS 'When its state last changed';
COMMENT ON COLUMN work_orders.pruned IS 'What retention has removed of it: 1 texts of dataclips, 2 log lines, 3 both';
COMMENT ON TABLE runs IS 'Attempts to execute a work order';
COMMENT ON COLUMN runs.seq IS 'Order of insertion';
COMMENT ON COLUMN runs.starting_node_id IS 'The trigger at which it starts';
COMMENT ON COLUMN runs.dataclip_id IS 'Its input';
COMMENT ON COLUMN runs.final_dataclip_id IS 'Its final state';
COMMENT ON COLUMN runs.queue IS 'The queue in which it waits';
COMMENT ON COLUMN runs.priority IS '0: immediate, 1: normal';
COMMENT ON COLUMN runs.save_dataclips IS 'Whether its inputs and outputs are kept';
COMMENT ON COLUMN runs.options IS 'Options that its worker is given';
COMMENT ON COLUMN runs.run_timeout_ms IS 'How long it may run';
COMMENT ON COLUMN runs.state IS 'Where it is in its life';
COMMENT ON COLUMN runs.revision IS 'How often the run itself has changed';
COMMENT ON COLUMN runs.claim_epoch IS 'Grows with every claim, release and requeue; part of the fencing token';
COMMENT ON COLUMN runs.claim_id IS 'Random id of the present claim; part of the fencing token; NULL: not claimed';
COMMENT ON COLUMN runs.unjoined_claims IS 'Newest claims that were given back before their worker joined';
COMMENT ON COLUMN runs.requeues IS 'How often it was given back';
COMMENT ON COLUMN runs.worker_name IS 'The worker that has, or had, the claim';
COMMENT ON COLUMN runs.claimed_at IS 'When it was claimed, by the database''s clock';
COMMENT ON COLUMN runs.joined_at IS 'When its worker joined its channel, by the database''s clock';
COMMENT ON COLUMN runs.joins IS 'How often workers have joined it in flight; tells the newest channel from those before it';
COMMENT ON COLUMN runs.started_at IS 'When it started, by the worker''s clock';
COMMENT ON COLUMN runs.started_by_step IS 'A step:start arrived before the run:start, which is still accepted';
COMMENT ON COLUMN runs.deadline_at IS 'After this it is lost';
COMMENT ON COLUMN runs.lease_expires_at IS 'After this it is lost, unless its worker is active; NULL: no lease';
COMMENT ON COLUMN runs.finished_at IS 'When it ended, by the worker''s clock';
COMMENT ON COLUMN runs.finalized_at IS 'When that was stored, by the database''s clock';
COMMENT ON COLUMN runs.active_at IS 'When its worker was last active, as far as that is stored: at the claim, at joins, when the lease was renewed, when its socket closed';
COMMENT ON COLUMN runs.lost_at IS 'When it was last declared lost; stays when it was revived, or ended after all';
COMMENT ON COLUMN runs.lost_from IS 'State before the loss, to which a revival leads back';
COMMENT ON COLUMN runs.error_type IS 'What went wrong';
COMMENT ON COLUMN runs.error_message IS 'What went wrong, in words';
COMMENT ON COLUMN runs.versions IS 'Versions of the worker''s software, JSON';
COMMENT ON TABLE steps IS 'Executions of one job within a run';
COMMENT ON COLUMN steps.exit_reason IS 'How it ended; NULL: it has not';
COMMENT ON COLUMN steps.error_type IS 'What went wrong';
COMMENT ON COLUMN steps.error_message IS 'What went wrong, in words';
COMMENT ON COLUMN steps.started_at IS 'By the worker''s clock';
COMMENT ON COLUMN steps.finished_at IS 'By the worker''s clock; by the database''s where it was closed as lost';
COMMENT ON VIEW run_steps IS 'Which steps belong to which run';
COMMENT ON TABLE log_lines IS 'Lines that runs log; partitions by day';
COMMENT ON COLUMN log_lines.id IS 'Version 7: the time of the arrival, and so the order of the lines';
COMMENT ON COLUMN log_lines.level IS 'Level of the line, as the worker names it';
COMMENT ON COLUMN log_lines.source IS 'Part of the worker that logged it';
COMMENT ON COLUMN log_lines.message IS 'The line, JSON, credentials removed';
COMMENT ON COLUMN log_lines.timestamp IS 'By the worker''s clock';
COMMENT ON TABLE transitions IS 'The journal: a row for each decision about a run; append-only, partitions by day';
COMMENT ON COLUMN transitions.id IS 'Order of insertion, which is the order of a run''s rows';
COMMENT ON COLUMN transitions.at IS 'When it was decided, by the database''s clock';
COMMENT ON COLUMN transitions.xid IS 'Transaction that inserted it';
COMMENT ON COLUMN transitions.revision IS 'Revision of the run after it';
COMMENT ON COLUMN transitions.step_id IS 'The step that the message was about';
COMMENT ON COLUMN transitions.event IS 'The message, or what the coordinator did by itself';
COMMENT ON COLUMN transitions.from_state IS 'State of the run before';
COMMENT ON COLUMN transitions.to_state IS 'State of the run behind it';
COMMENT ON COLUMN transitions.outcome IS 'What became of the event';
COMMENT ON COLUMN transitions.code IS 'Why it was refused; which clock ran out; how a worker''s socket ended';
COMMENT ON COLUMN transitions.policy IS 'Policy for a late message by which it was decided';
COMMENT ON COLUMN transitions.worker IS 'The worker that has, or had, the claim';
COMMENT ON COLUMN transitions.epoch IS 'Claim epoch of the message';
COMMENT ON COLUMN transitions.coordinator IS 'Who decided';
COMMENT ON COLUMN transitions.worker_at IS 'Time of the message, by the worker''s clock';
COMMENT ON COLUMN transitions.lateness IS 'How long after the loss of the run it arrived; of a loss, release or requeue: how long after the clock ran out';
COMMENT ON COLUMN transitions.message IS 'What the message was, JSON';
COMMENT ON TABLE journal_counts IS 'Messages that changed nothing, counted by run and kind; the first few of each have rows in transitions';
COMMENT ON COLUMN journal_counts.code IS 'Why it was refused; empty: it was not';
COMMENT ON COLUMN journal_counts.n IS 'How many there were';
COMMENT ON COLUMN journal_counts.revision IS 'Revision of the run at the last of them';
COMMENT ON COLUMN journal_counts.state IS 'State of the run at the last of them';
COMMENT ON COLUMN journal_counts.at IS 'When the last of them arrived';
COMMENT ON TABLE waiting IS 'Runs that wait to be claimed; the key is the order of the claim';
COMMENT ON TABLE in_flight IS 'Runs that are claimed or started';
COMMENT ON TABLE turns IS 'When each project was last served, for fairness';
COMMENT ON COLUMN turns.last_served IS 'A counter, not a time';
COMMENT ON TABLE coordinators IS 'Coordinators, and the workers that are connected to them';
COMMENT ON COLUMN coordinators.policy IS 'Digest of the options that all coordinators must share';
COMMENT ON COLUMN coordinators.seen_at IS 'When it last reported';
COMMENT ON COLUMN coordinators.workers IS 'Its workers when it last reported, JSON';
COMMENT ON TABLE wipes IS 'Lost runs whose input is wiped when they can no longer be revived';
COMMENT ON TABLE idempotency_keys IS 'Keys of webhooks, and what was made at the first use';
COMMENT ON COLUMN projects.id IS 'Its id';
COMMENT ON COLUMN projects.name IS 'Its name';
COMMENT ON COLUMN projects.inserted_at IS 'When the row was inserted';
COMMENT ON COLUMN workflows.project_id IS 'The project that owns the row';
COMMENT ON COLUMN workflows.id IS 'Its id';
COMMENT ON COLUMN workflows.name IS 'Its name';
COMMENT ON COLUMN workflows.inserted_at IS 'When the row was inserted';
COMMENT ON COLUMN credentials.project_id IS 'The project that owns the row';
COMMENT ON COLUMN credentials.id IS 'Its id';
COMMENT ON COLUMN credentials.name IS 'Its name';
COMMENT ON COLUMN credentials.inserted_at IS 'When the row was inserted';
COMMENT ON COLUMN credentials.updated_at IS 'When it was last changed';
COMMENT ON COLUMN snapshots.project_id IS 'The project that owns the row';
COMMENT ON COLUMN snapshots.id IS 'Its id';
COMMENT ON COLUMN snapshots.workflow_id IS 'The workflow';
COMMENT ON COLUMN snapshots.name IS 'Its name';
COMMENT ON COLUMN snapshots.inserted_at IS 'When the row was inserted';
COMMENT ON COLUMN snapshot_jobs.project_id IS 'The project that owns the row';
COMMENT ON COLUMN snapshot_jobs.snapshot_id IS 'The version of the workflow';
COMMENT ON COLUMN snapshot_jobs.name IS 'Its name';
COMMENT ON COLUMN triggers.project_id IS 'The project that owns the row';
COMMENT ON COLUMN triggers.id IS 'Its id';
COMMENT ON COLUMN triggers.workflow_id IS 'The workflow';
COMMENT ON COLUMN dataclips.project_id IS 'The project that owns the row';
COMMENT ON COLUMN dataclips.id IS 'Its id';
COMMENT ON COLUMN dataclips.inserted_at IS 'When the row was inserted';
COMMENT ON COLUMN work_orders.project_id IS 'The project that owns the row';
COMMENT ON COLUMN work_orders.id IS 'Its id';
COMMENT ON COLUMN work_orders.workflow_id IS 'The workflow';
COMMENT ON COLUMN work_orders.inserted_at IS 'When the row was inserted';
COMMENT ON COLUMN runs.project_id IS 'The project that owns the row';
COMMENT ON COLUMN runs.id IS 'Its id';
COMMENT ON COLUMN runs.work_order_id IS 'The work order';
COMMENT ON COLUMN runs.workflow_id IS 'The workflow';
COMMENT ON COLUMN runs.snapshot_id IS 'The version of the workflow';
COMMENT ON COLUMN runs.inserted_at IS 'When the row was inserted';
COMMENT ON COLUMN steps.project_id IS 'The project that owns the row';
COMMENT ON COLUMN steps.id IS 'Its id';
COMMENT ON COLUMN steps.run_id IS 'The run';
COMMENT ON COLUMN steps.snapshot_id IS 'The version of the workflow';
COMMENT ON COLUMN steps.job_id IS 'The job that it executes';
COMMENT ON COLUMN steps.credential_id IS 'The credential that it uses';
COMMENT ON COLUMN steps.input_dataclip_id IS 'Its input';
COMMENT ON COLUMN steps.output_dataclip_id IS 'Its output';
COMMENT ON COLUMN steps.inserted_at IS 'When the row was inserted';
COMMENT ON COLUMN run_steps.project_id IS 'The project that owns the row';
COMMENT ON COLUMN run_steps.run_id IS 'The run';
COMMENT ON COLUMN run_steps.step_id IS 'The step';
COMMENT ON COLUMN log_lines.project_id IS 'The project that owns the row';
COMMENT ON COLUMN log_lines.run_id IS 'The run';
COMMENT ON COLUMN log_lines.step_id IS 'The step';
COMMENT ON COLUMN transitions.project_id IS 'The project that owns the row';
COMMENT ON COLUMN transitions.run_id IS 'The run';
COMMENT ON COLUMN journal_counts.project_id IS 'The project that owns the row';
COMMENT ON COLUMN journal_counts.run_id IS 'The run';
COMMENT ON COLUMN journal_counts.event IS 'The message';
COMMENT ON COLUMN journal_counts.outcome IS 'What became of the messages';
COMMENT ON COLUMN waiting.project_id IS 'The project that owns the row';
COMMENT ON COLUMN waiting.workflow_id IS 'The workflow';
COMMENT ON COLUMN waiting.queue IS 'The queue in which it waits';
COMMENT ON COLUMN waiting.priority IS '0: immediate, 1: normal';
COMMENT ON COLUMN waiting.seq IS 'Order of insertion of the run';
COMMENT ON COLUMN waiting.run_id IS 'The run';
COMMENT ON COLUMN in_flight.project_id IS 'The project that owns the row';
COMMENT ON COLUMN in_flight.workflow_id IS 'The workflow';
COMMENT ON COLUMN in_flight.run_id IS 'The run';
COMMENT ON COLUMN turns.project_id IS 'The project that owns the row';
COMMENT ON COLUMN coordinators.name IS 'Its name';
COMMENT ON COLUMN coordinators.started_at IS 'When it started';
COMMENT ON COLUMN wipes.project_id IS 'The project that owns the row';
COMMENT ON COLUMN wipes.run_id IS 'The run';
COMMENT ON COLUMN idempotency_keys.project_id IS 'The project that owns the row';
COMMENT ON COLUMN idempotency_keys.trigger_id IS 'The trigger';
COMMENT ON COLUMN idempotency_keys.key IS 'The key';
COMMENT ON COLUMN idempotency_keys.work_order_id IS 'The work order';
COMMENT ON COLUMN idempotency_keys.run_id IS 'The run';
COMMENT ON COLUMN idempotency_keys.inserted_at IS 'When the row was inserted';

-- The daemon's role.
GRANT USAGE ON SCHEMA public TO interlock;
GRANT SELECT ON schema_migrations, projects, workflows, snapshots, snapshot_jobs, triggers,
	credentials, idempotency_keys TO interlock;
GRANT SELECT, INSERT, UPDATE ON work_orders, runs, steps, dataclips, turns TO interlock;
GRANT SELECT, INSERT ON log_lines, transitions TO interlock;
GRANT SELECT, INSERT, DELETE ON waiting, in_flight TO interlock;
GRANT UPDATE ON waiting TO interlock;	-- FOR UPDATE SKIP LOCKED asks for it
GRANT USAGE ON SEQUENCE transitions_id, turn TO interlock;
GRANT SELECT, INSERT, UPDATE ON journal_counts TO interlock;
GRANT SELECT, INSERT, UPDATE, DELETE ON coordinators TO interlock;
GRANT SELECT, INSERT, DELETE ON wipes TO interlock;

-- These functions run as their owner, so their callers can make runs in any project: only the daemon's role
-- and those to whom the owner grants it.
REVOKE EXECUTE ON FUNCTION interlock_enqueue, interlock_make_work_order, interlock_check_json, interlock_retry,
	interlock_retry_all, interlock_make_partitions, interlock_prune, interlock_drop_partition, interlock_delete_work_orders FROM PUBLIC;
GRANT EXECUTE ON FUNCTION interlock_enqueue, interlock_make_work_order, interlock_retry, interlock_retry_all,
	interlock_make_partitions, interlock_prune, interlock_drop_partition TO interlock;
