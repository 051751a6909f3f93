-- Has the daemon's role the privileges that its statements need, and no more?
WITH needed(name, rights) AS (VALUES
	('schema_migrations', 'SELECT'),
	('projects', 'SELECT'),
	('workflows', 'SELECT'),
	('snapshots', 'SELECT'),
	('snapshot_jobs', 'SELECT'),
	('triggers', 'SELECT'),
	('credentials', 'SELECT'),
	('work_orders', 'SELECT INSERT UPDATE'),
	('runs', 'SELECT INSERT UPDATE'),
	('steps', 'SELECT INSERT UPDATE'),
	('dataclips', 'SELECT INSERT UPDATE'),
	('turns', 'SELECT INSERT UPDATE'),
	('log_lines', 'SELECT INSERT'),
	('transitions', 'SELECT INSERT'),
	('journal_counts', 'SELECT INSERT UPDATE'),
	('waiting', 'SELECT INSERT UPDATE DELETE'),
	('in_flight', 'SELECT INSERT DELETE'),
	('wipes', 'SELECT INSERT DELETE'),
	('coordinators', 'SELECT INSERT UPDATE DELETE')
), missing AS (
	SELECT w.name, string_agg(r, ', ') AS rights
	FROM needed w, string_to_table(w.rights, ' ') r
	WHERE to_regclass(w.name) IS NOT NULL AND NOT has_table_privilege(w.name, r)
	GROUP BY w.name
)
SELECT 'fail',
	format('%s lacks %s on %s', current_user, rights, string_agg(name, ', ' ORDER BY name)),
	'connect as the role interlock, or GRANT interlock TO ' || quote_ident(current_user)
FROM missing
GROUP BY rights
UNION ALL
SELECT 'warn',
	format('%s is a superuser, which the daemon should not be', current_user),
	'connect as the role interlock in [database] url; migrate_url is for the owner'
FROM pg_roles
WHERE rolname = current_user AND rolsuper
UNION ALL
SELECT 'warn',
	format('%s owns the tables, which the daemon should not', current_user),
	'connect as the role interlock in [database] url; migrate_url is for the owner'
FROM pg_class
WHERE oid = to_regclass('runs') AND pg_get_userbyid(relowner) = current_user
