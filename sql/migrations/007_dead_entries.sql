-- What claims walks over the dead entries of `waiting` in its index, and over those of `in_flight` when it counts
-- for a limit. A vacuum leaves an index alone when fewer than one page in fifty of the table has dead rows, and
-- these tables keep the pages of the largest backlog they ever had: after a million waited, twenty thousand dead
-- entries were never removed. Takes no lock that a message waits for.
ALTER TABLE waiting SET (vacuum_index_cleanup = on);
ALTER TABLE in_flight SET (vacuum_index_cleanup = on);
