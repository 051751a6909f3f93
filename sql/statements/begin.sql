-- Begins the janitor's transaction: one round trip locks the runs' work orders, the next one changes the runs.
BEGIN
