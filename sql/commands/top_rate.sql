-- interlock top: how fast the journal grows.
SELECT (count(*) / 10.0)::float8 AS transitions_per_second
FROM transitions
WHERE at > now() - interval '10 s'
