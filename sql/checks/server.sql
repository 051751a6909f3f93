-- Is it a server that the schema was made for, and one that takes writes?
SELECT 'fail',
	format('it is PostgreSQL %s, and 15 is the oldest that does', current_setting('server_version')),
	'upgrade the server'
WHERE current_setting('server_version_num')::int < 150000
UNION ALL
SELECT 'fail',
	format('the encoding is %s, and workers speak UTF-8', current_setting('server_encoding')),
	'create another database with ENCODING ''UTF8'' TEMPLATE template0'
WHERE current_setting('server_encoding') <> 'UTF8'
UNION ALL
SELECT 'fail',
	'it is a standby, which takes no writes',
	'name the primary in [database] url, or both of them: the daemon takes the one that is writable'
WHERE pg_is_in_recovery()
UNION ALL
SELECT 'fail',
	'sessions are read-only by default',
	'ALTER ROLE … RESET default_transaction_read_only, and the same of the database'
WHERE current_setting('default_transaction_read_only')::boolean AND NOT pg_is_in_recovery()
UNION ALL
SELECT 'warn',
	'it was built without lz4, so large texts are compressed by pglz, which takes several times as long',
	'use a server that is built --with-lz4, as distributions'' packages are'
WHERE NOT EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals))
