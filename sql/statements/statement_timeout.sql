-- Before a batch of a writer, while the database is slow: how long each of its statements may take.
-- columns: set_config
SELECT set_config('statement_timeout', {{scalar timeout text}}, true)
