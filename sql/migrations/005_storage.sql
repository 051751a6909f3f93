-- Room on the page for all versions of a row's life, so that updates stay HOT while a batch of
-- neighbours lives at once: a run has four updates, a step and a work order one or two. With less, one in
-- ten updates of runs and one in three of steps had to write to the indexes.
--
-- `waiting` and `in_flight` have few rows and many dead ones, and what claims has to step over these:
-- they are vacuumed by number and without pauses, and keep their empty pages, because giving them back
-- takes a lock that every message would wait for.
ALTER TABLE runs SET (fillfactor = 45);
ALTER TABLE work_orders SET (fillfactor = 50);
ALTER TABLE steps SET (fillfactor = 50);
ALTER TABLE waiting SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
	autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE in_flight SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
	autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
