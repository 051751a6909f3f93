-- The schema. Names are OpenFn Lightning's where Lightning has them.
--
-- Tenancy is in the keys: the primary key of every hot table begins with project_id and foreign
-- keys are composite, so the database itself cannot tie a run to another project's dataclip.
--
-- A run changes state without touching an index: no index reads a column that a transition
-- changes (fillfactor leaves room for the new version on the page). What waits to be claimed
-- stands in `waiting`, what is in flight in `in_flight`: narrow rows, inserted and deleted, never
-- updated. Both are kept by the statements that move runs, and by a trigger for runs that are
-- inserted by anybody.
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

-- The id alone is unique too: it is the address that an operator or an application uses.
CREATE TABLE workflows (
	project_id uuid NOT NULL REFERENCES projects,
	id uuid NOT NULL UNIQUE,
	name text NOT NULL,
	concurrency int CHECK (concurrency > 0),
	lock_version int NOT NULL DEFAULT 0,
	snapshot_id uuid,
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
	body text COMPRESSION lz4 NOT NULL,
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
-- trigger without one, so such a run is refused when it is enqueued.
CREATE TABLE triggers (
	project_id uuid NOT NULL,
	id uuid NOT NULL UNIQUE,
	workflow_id uuid NOT NULL,
	type text NOT NULL CHECK (type IN ('webhook', 'cron', 'kafka')),
	enabled boolean NOT NULL DEFAULT true,
	runnable boolean NOT NULL,
	PRIMARY KEY (project_id, id),
	FOREIGN KEY (project_id, workflow_id) REFERENCES workflows
);

CREATE INDEX triggers_workflow ON triggers (project_id, workflow_id);

-- body: the bytes as they came; NULL when they were never stored or have been wiped. step_id: the
-- step whose output it is, which tells a repetition from another's id.
CREATE TABLE dataclips (
	project_id uuid NOT NULL REFERENCES projects,
	id uuid NOT NULL,
	type text NOT NULL
		CHECK (type IN ('http_request', 'kafka', 'global', 'step_result', 'saved_input')),
	body text COMPRESSION lz4,
	request text COMPRESSION lz4,
	step_id uuid,
	wiped_at timestamptz,
	inserted_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (project_id, id)
);

CREATE TABLE work_orders (
	project_id uuid NOT NULL,
	id uuid NOT NULL,
	workflow_id uuid NOT NULL,
	trigger_id uuid,
	dataclip_id uuid,
	state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'running', 'success',
		'failed', 'crashed', 'cancelled', 'killed', 'exception', 'lost')),
	last_activity timestamptz NOT NULL DEFAULT now(),
	inserted_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (project_id, id),
	FOREIGN KEY (project_id, workflow_id) REFERENCES workflows,
	FOREIGN KEY (project_id, dataclip_id) REFERENCES dataclips
) WITH (fillfactor = 70);

-- seq orders runs by insertion. joined_epochs: the claims that their worker joined. started_by_step: a
-- step:start overtook the run:start, which is still welcome. The worker's clock is in started_at
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
	joined_epochs int[] NOT NULL DEFAULT '{}',
	requeues smallint NOT NULL DEFAULT 0,
	worker_name text,
	claimed_at timestamptz,
	joined_at timestamptz,
	started_at timestamptz,
	started_by_step boolean NOT NULL DEFAULT false,
	deadline_at timestamptz,
	lease_expires_at timestamptz,
	finished_at timestamptz,
	finalized_at timestamptz,
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
) WITH (fillfactor = 60);

CREATE INDEX runs_work_order ON runs (project_id, work_order_id, seq);
CREATE INDEX runs_newest ON runs (seq);

CREATE TABLE steps (
	project_id uuid NOT NULL,
	id uuid NOT NULL,
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
	CONSTRAINT steps_job_id_fkey
		FOREIGN KEY (project_id, snapshot_id, job_id) REFERENCES snapshot_jobs,
	CONSTRAINT steps_input_dataclip_id_fkey
		FOREIGN KEY (project_id, input_dataclip_id) REFERENCES dataclips,
	CONSTRAINT steps_output_dataclip_id_fkey
		FOREIGN KEY (project_id, output_dataclip_id) REFERENCES dataclips,
	CONSTRAINT steps_exit_check CHECK ((exit_reason IS NULL) = (finished_at IS NULL))
) WITH (fillfactor = 70);

CREATE TABLE run_steps (
	project_id uuid NOT NULL,
	run_id uuid NOT NULL,
	step_id uuid NOT NULL,
	PRIMARY KEY (project_id, run_id, step_id),
	FOREIGN KEY (project_id, run_id) REFERENCES runs,
	FOREIGN KEY (project_id, step_id) REFERENCES steps
);

-- id is given at receipt and grows: the key is also the order in which the lines came.
CREATE TABLE log_lines (
	project_id uuid NOT NULL,
	run_id uuid NOT NULL,
	id uuid NOT NULL,
	step_id uuid,
	level text NOT NULL,
	source text,
	message text COMPRESSION lz4 NOT NULL,
	timestamp timestamptz NOT NULL,
	PRIMARY KEY (project_id, run_id, id),
	FOREIGN KEY (project_id, run_id) REFERENCES runs,
	FOREIGN KEY (project_id, step_id) REFERENCES steps
);

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
	message text COMPRESSION lz4,
	PRIMARY KEY (project_id, run_id, id, at)
) PARTITION BY RANGE (at);

CREATE SEQUENCE transitions_id OWNED BY transitions.id;
ALTER TABLE transitions ALTER id SET DEFAULT nextval('transitions_id');

-- Makes the day's partitions up to a week ahead. ATTACH takes no lock that a message waits for;
-- CREATE … PARTITION OF would. The advisory lock keeps two coordinators from making the same one.
CREATE FUNCTION interlock_journal_partitions() RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
	day date;
	part text;
	made int := 0;
BEGIN
	PERFORM pg_advisory_xact_lock(hashtext('interlock journal partitions'));
	FOR day IN SELECT generate_series(current_date - 1, current_date + 7, '1 day') LOOP
		part := 'transitions_' || to_char(day, 'YYYYMMDD');
		CONTINUE WHEN to_regclass(part) IS NOT NULL;
		EXECUTE format('CREATE TABLE %I (LIKE transitions INCLUDING DEFAULTS INCLUDING CONSTRAINTS '
			'INCLUDING INDEXES INCLUDING COMPRESSION)', part);
		EXECUTE format('ALTER TABLE transitions ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
			part, day::timestamptz, (day + 1)::timestamptz);
		made := made + 1;
	END LOOP;
	RETURN made;
END $$;

SELECT interlock_journal_partitions();

-- What waits to be claimed. The primary key is also the order in which the claim walks.
CREATE TABLE waiting (
	project_id uuid NOT NULL,
	workflow_id uuid NOT NULL,
	queue text NOT NULL,
	priority smallint NOT NULL,
	seq bigint NOT NULL,
	run_id uuid NOT NULL,
	PRIMARY KEY (project_id, workflow_id, queue, priority, seq),
	FOREIGN KEY (project_id, run_id) REFERENCES runs
);

-- What is claimed or started: counted for the limits, watched by the janitor.
CREATE TABLE in_flight (
	project_id uuid NOT NULL,
	workflow_id uuid NOT NULL,
	run_id uuid NOT NULL,
	PRIMARY KEY (project_id, workflow_id, run_id),
	FOREIGN KEY (project_id, run_id) REFERENCES runs
);

-- When each project was last served, for fairness: a counter, not a time.
CREATE TABLE turns (
	project_id uuid PRIMARY KEY REFERENCES projects,
	last_served bigint NOT NULL
) WITH (fillfactor = 50);

CREATE SEQUENCE turn;

-- A run becomes available by being inserted, by whatever session.
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

-- What the policy comes to for a run lost at that time: beyond the window, `yield` is `acknowledge`.
CREATE FUNCTION interlock_late_policy(policy text, window_us bigint, lost_at timestamptz)
RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT CASE WHEN policy = 'yield' AND window_us > 0
			AND clock_timestamp() > lost_at + window_us * interval '1 microsecond'
		THEN 'acknowledge' ELSE policy END
$$;

CREATE TABLE idempotency_keys (
	project_id uuid NOT NULL,
	trigger_id uuid NOT NULL,
	key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
	work_order_id uuid NOT NULL,
	run_id uuid NOT NULL,
	inserted_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (project_id, trigger_id, key)
);

-- The one way in: a dataclip, a work order and a run of the workflow's newest snapshot. Applications
-- call it inside their own transaction, the webhook and the command line call it too. `trigger`
-- NULL: the workflow's first runnable trigger. A repeated key answers the first work order.
CREATE FUNCTION interlock_enqueue(
	workflow uuid,
	input text DEFAULT '{}',
	priority text DEFAULT 'normal',
	queue text DEFAULT 'default',
	trigger uuid DEFAULT NULL,
	type text DEFAULT 'saved_input',
	request text DEFAULT NULL,
	idempotency_key text DEFAULT NULL,
	OUT work_order_id uuid,
	OUT run_id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_variable
DECLARE
	w record;
	t record;
	clip uuid := interlock_uuid();
BEGIN
	IF priority NOT IN ('normal', 'immediate') THEN
		RAISE 'priority "%" is neither normal nor immediate', priority USING ERRCODE = '22023';
	END IF;
	SELECT f.project_id, f.id, f.snapshot_id, p.save_dataclips, p.options INTO w
	FROM workflows f JOIN projects p ON p.id = f.project_id
	WHERE f.id = workflow AND f.snapshot_id IS NOT NULL;
	IF NOT FOUND THEN
		RAISE 'no workflow %', workflow USING ERRCODE = 'P0002';
	END IF;
	SELECT g.id INTO t FROM triggers g
	WHERE g.project_id = w.project_id AND g.workflow_id = w.id AND g.runnable
		AND (trigger IS NULL OR g.id = trigger)
	ORDER BY g.enabled DESC, g.id LIMIT 1;
	IF NOT FOUND THEN
		RAISE 'workflow % has no such trigger with an enabled edge', workflow
			USING ERRCODE = 'P0002';
	END IF;

	work_order_id := interlock_uuid();
	run_id := interlock_uuid();
	IF idempotency_key IS NOT NULL THEN
		INSERT INTO idempotency_keys (project_id, trigger_id, key, work_order_id, run_id)
		VALUES (w.project_id, t.id, idempotency_key, work_order_id, run_id)
		ON CONFLICT DO NOTHING;
		IF NOT FOUND THEN
			SELECT k.work_order_id, k.run_id INTO work_order_id, run_id
			FROM idempotency_keys k
			WHERE k.project_id = w.project_id AND k.trigger_id = t.id AND k.key = idempotency_key;
			RETURN;
		END IF;
	END IF;

	INSERT INTO dataclips (project_id, id, type, body, request)
	VALUES (w.project_id, clip, type, input, request);
	INSERT INTO work_orders (project_id, id, workflow_id, trigger_id, dataclip_id)
	VALUES (w.project_id, work_order_id, w.id, t.id, clip);
	INSERT INTO runs (project_id, id, work_order_id, workflow_id, snapshot_id, starting_node_id,
		dataclip_id, queue, priority, save_dataclips, options, run_timeout_ms)
	VALUES (w.project_id, run_id, work_order_id, w.id, w.snapshot_id, t.id,
		clip, queue, (priority = 'normal')::int, w.save_dataclips, w.options,
		(w.options->>'run_timeout_ms')::int);
END $$;

-- Adds a run to the work order of an earlier one, on the workflow's newest snapshot.
CREATE FUNCTION interlock_retry(run uuid, OUT work_order_id uuid, OUT run_id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_variable
DECLARE
	r record;
BEGIN
	SELECT o.*, w.snapshot_id AS newest, d.wiped_at, d.body IS NULL AS bodiless INTO r
	FROM projects p
	JOIN runs o ON o.project_id = p.id AND o.id = run
	JOIN workflows w ON w.project_id = o.project_id AND w.id = o.workflow_id
	LEFT JOIN dataclips d ON d.project_id = o.project_id AND d.id = o.dataclip_id;
	IF NOT FOUND THEN
		RAISE 'no run %', run USING ERRCODE = 'P0002';
	END IF;
	IF r.wiped_at IS NOT NULL THEN
		RAISE 'the input of run % has been wiped', run USING ERRCODE = '55000';
	END IF;
	IF NOT EXISTS (SELECT FROM triggers g WHERE g.project_id = r.project_id
			AND g.workflow_id = r.workflow_id AND g.id = r.starting_node_id AND g.runnable) THEN
		RAISE 'the trigger that run % started at has no enabled edge any more', run
			USING ERRCODE = '55000';
	END IF;
	PERFORM FROM work_orders o WHERE o.project_id = r.project_id AND o.id = r.work_order_id
	FOR NO KEY UPDATE;
	work_order_id := r.work_order_id;
	run_id := interlock_uuid();
	INSERT INTO runs (project_id, id, work_order_id, workflow_id, snapshot_id, starting_node_id,
		dataclip_id, queue, priority, save_dataclips, options, run_timeout_ms)
	VALUES (r.project_id, run_id, r.work_order_id, r.workflow_id, r.newest, r.starting_node_id,
		r.dataclip_id, r.queue, r.priority, r.save_dataclips, r.options,
		(r.options->>'run_timeout_ms')::int);
	UPDATE work_orders o SET state = 'pending', last_activity = now()
	WHERE o.project_id = r.project_id AND o.id = r.work_order_id AND o.state <> 'running';
END $$;

-- The daemon's role.
GRANT USAGE ON SCHEMA public TO interlock;
GRANT SELECT ON schema_migrations, projects, workflows, snapshots, snapshot_jobs, triggers,
	credentials, idempotency_keys TO interlock;
GRANT SELECT, INSERT, UPDATE ON work_orders, runs, steps, dataclips, turns TO interlock;
GRANT SELECT, INSERT ON run_steps, log_lines, transitions TO interlock;
GRANT SELECT, INSERT, DELETE ON waiting, in_flight TO interlock;
GRANT UPDATE ON waiting TO interlock;	-- FOR UPDATE SKIP LOCKED asks for it
GRANT USAGE ON SEQUENCE transitions_id, turn TO interlock;
