-- The janitor locks in one round trip and takes in the next.
BEGIN
