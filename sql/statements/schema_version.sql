-- Asked at each connect: is this still the schema that this build was made for?
SELECT 1 AS ord, coalesce(max(version), 0) FROM schema_migrations
