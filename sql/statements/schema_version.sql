-- Asked at each connect: is this a schema that this build can work on? (The column serves is younger than the
-- table.)
SELECT 1 AS ord, coalesce(max(version), 0), coalesce(max((to_jsonb(m) ->> 'serves')::int), 0)
FROM schema_migrations m
