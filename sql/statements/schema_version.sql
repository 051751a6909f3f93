-- Asked at each connect: is this a schema that this build can work on?
-- columns: ord, version, serves
SELECT 1 AS ord, coalesce(max(version), 0) AS version, coalesce(max(serves), 0) AS serves
FROM schema_migrations
