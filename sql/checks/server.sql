-- Is the server supported, and writable?
SELECT 'fail',
	format('PostgreSQL %s is too old: 15 or newer is required', current_setting('server_version')),
	'upgrade the server'
WHERE current_setting('server_version_num')::int < 150000
UNION ALL
SELECT 'warn',
	format('PostgreSQL %s is newer than those that this version was tested with, 15 to 18', current_setting('server_version')),
	'read the release notes of newer versions of Interlock, and upgrade to one that supports it'
WHERE current_setting('server_version_num')::int >= 190000
UNION ALL
SELECT 'fail',
	format('the encoding is %s, but must be UTF8', current_setting('server_encoding')),
	'create a database with ENCODING ''UTF8'' TEMPLATE template0'
WHERE current_setting('server_encoding') <> 'UTF8'
UNION ALL
SELECT 'fail',
	'the server is a standby, which is read-only',
	'set [database] url to the primary, or to both servers: the daemon connects to the writable one'
WHERE pg_is_in_recovery()
UNION ALL
SELECT 'fail',
	'sessions are read-only by default',
	'ALTER ROLE … RESET default_transaction_read_only, and ALTER DATABASE likewise'
WHERE current_setting('default_transaction_read_only')::boolean AND NOT pg_is_in_recovery()
UNION ALL
SELECT 'warn',
	'it was built without lz4, so large texts are compressed by pglz, which takes several times as long',
	'use a server that is built --with-lz4, as distributions'' packages are'
WHERE NOT EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals))
