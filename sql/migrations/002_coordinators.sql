-- What coordinators tell each other and the operator, and what the janitor has to come back to.

-- policy: a digest of the options that decide the race; two coordinators with different ones would
-- decide the same race differently.
CREATE TABLE coordinators (
	name text PRIMARY KEY,
	policy text NOT NULL,
	started_at timestamptz NOT NULL,
	seen_at timestamptz NOT NULL DEFAULT now()
);

-- Who is connected where, as each coordinator last said.
CREATE TABLE workers (
	coordinator text NOT NULL REFERENCES coordinators ON DELETE CASCADE,
	socket int NOT NULL,
	worker_id text NOT NULL,
	address text NOT NULL,
	capacity int NOT NULL,
	runs int NOT NULL,
	connected_at timestamptz NOT NULL,
	heard_at timestamptz NOT NULL,
	PRIMARY KEY (coordinator, socket)
);

-- Lost runs that do not save dataclips: their input is wiped once they can no longer be revived.
CREATE TABLE wipes (
	project_id uuid NOT NULL,
	run_id uuid NOT NULL,
	PRIMARY KEY (project_id, run_id),
	FOREIGN KEY (project_id, run_id) REFERENCES runs
);

-- Finds the steps of the last day for the janitor's sweep; inserted_at does not change, so updates of a step
-- stay HOT.
CREATE INDEX steps_recent ON steps USING brin (inserted_at) WITH (pages_per_range = 16, autosummarize = on);

GRANT SELECT, INSERT, UPDATE, DELETE ON coordinators, workers TO interlock;
GRANT SELECT, INSERT, DELETE ON wipes TO interlock;
