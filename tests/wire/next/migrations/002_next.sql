-- The migration of a version that is yet to come: it serves the daemons of this one.
ALTER TABLE runs ADD COLUMN of_the_future integer;
