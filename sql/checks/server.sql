-- Is the server supported, and writable?
SELECT 'fail',
	format('PostgreSQL %s is too old: 15 or newer is required', current_setting('server_version')),
	'upgrade the server'
WHERE current_setting('server_version_num')::int < 150000
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
