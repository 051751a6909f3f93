-- How often each run was sent what changed nothing: refused, repeated, too late. Of each kind the journal has the
-- first few, with what was sent; the rest is only counted here, or a worker could fill the disk with it. n: all of
-- them; revision, state, at: as of the last. Creates a table only.
CREATE TABLE journal_counts (
	project_id uuid NOT NULL,
	run_id uuid NOT NULL,
	event text NOT NULL,
	outcome text NOT NULL,
	code text NOT NULL,	-- '': none
	n bigint NOT NULL DEFAULT 1,
	revision int NOT NULL,
	state text NOT NULL,
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (project_id, run_id, event, outcome, code)
) WITH (fillfactor = 50);

COMMENT ON TABLE journal_counts IS
	'Messages that changed nothing, counted by run and kind; the first few of each have rows in transitions';

GRANT SELECT, INSERT, UPDATE ON journal_counts TO interlock;
