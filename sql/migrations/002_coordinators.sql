-- What coordinators tell each other and the operator, and what the janitor has to come back to. Creates
-- tables only, and one index of a size that does not grow with the rows; no table that is in use is rewritten.

-- policy: a digest of the options that decide the race; two coordinators with different ones would
-- decide the same race differently. workers: who is connected there, a JSON array, as said at seen_at.
CREATE TABLE coordinators (
	name text PRIMARY KEY,
	policy text NOT NULL,
	started_at timestamptz NOT NULL,
	seen_at timestamptz NOT NULL,
	workers text COMPRESSION lz4 NOT NULL
) WITH (fillfactor = 50);

-- Lost runs that do not save dataclips: their input is wiped once they can no longer be revived.
CREATE TABLE wipes (
	project_id uuid NOT NULL,
	run_id uuid NOT NULL,
	PRIMARY KEY (project_id, run_id),
	FOREIGN KEY (project_id, run_id) REFERENCES runs
);

-- Finds the steps of the last day for the janitor's sweep; inserted_at does not change, so updates of a
-- step stay HOT.
CREATE INDEX steps_recent ON steps USING brin (inserted_at) WITH (pages_per_range = 16, autosummarize = on);

GRANT SELECT, INSERT, UPDATE, DELETE ON coordinators TO interlock;
GRANT SELECT, INSERT, DELETE ON wipes TO interlock;
