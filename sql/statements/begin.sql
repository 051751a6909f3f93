-- The janitor's transaction: it locks in one round trip and takes in the next.
BEGIN
