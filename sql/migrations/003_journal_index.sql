-- The newest rows of the journal are found without reading a day of it: each partition has an index of a size
-- that hardly grows with the rows, and that costs an insert next to nothing. Made with a partition, so that
-- no message waits for it; of those that there are, only the empty ones get it.

CREATE OR REPLACE FUNCTION interlock_journal_partitions() RETURNS int
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
		EXECUTE format('CREATE INDEX ON %I USING brin (at) WITH (pages_per_range = 16, autosummarize = on)',
			part);
		EXECUTE format('ALTER TABLE transitions ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
			part, day::timestamptz, (day + 1)::timestamptz);
		made := made + 1;
	END LOOP;
	RETURN made;
END $$;

DO $$
DECLARE
	part regclass;
	used boolean;
BEGIN
	FOR part IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'transitions'::regclass LOOP
		EXECUTE format('SELECT EXISTS (SELECT FROM %s)', part) INTO used;
		IF NOT used THEN
			EXECUTE format('CREATE INDEX ON %s USING brin (at) WITH (pages_per_range = 16, '
				'autosummarize = on)', part);
		END IF;
	END LOOP;
END $$;
