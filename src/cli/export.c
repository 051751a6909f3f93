/*
 * cli export: prints a project as `interlock import` takes it. Invariant: an import of what was
 * printed changes nothing. The secrets leave the database only with --with-credentials, and then
 * byte for byte, so that the digits of numbers stay; without it credentials are listed without
 * their bodies, and an import keeps those that are stored.
 */
#include "cli.h"

#include <stdlib.h>

#include "project.h"

/* Appends the credential's body; false (reported) if it cannot be decrypted. */
static bool add_body(const struct keyring *keys, const char *id, const char *name, const char *hex,
	struct buf *out)
{
	struct buf sealed = { 0 };

	buf_adds(out, ", \"body\": ");
	buf_add_hex(&sealed, slice_of(hex));
	bool ok = keyring_open(keys, slice_of(id), (struct slice){ sealed.p, sealed.n }, out) !=
		  KEYRING_NONE;
	if (!ok)
		cli_error("credential %s (%s): cannot be decrypted with [keys] credential_key", id,
			name);
	buf_free(&sealed);
	return ok;
}

/* keys: NULL: without their bodies. */
static bool add_credentials(
	PGconn *db, const char *project, const struct keyring *keys, struct buf *out)
{
	PGresult *rows = cli_query(db, cli_sql("export_credentials"), 1, &project);
	bool ok = rows;

	buf_adds(out, ",\n  \"credentials\": [");
	for (int i = 0; ok && i < PQntuples(rows); i++) {
		const char *id = cli_value(rows, i, "id"), *name = cli_value(rows, i, "name");

		buf_addf(out, "%s\n    {\"id\": \"%s\", \"name\": ", i > 0 ? "," : "", id);
		buf_add_json(out, slice_of(name));
		ok = !keys || add_body(keys, id, name, cli_value(rows, i, "body"), out);
		buf_addc(out, '}');
	}
	buf_addf(out, "%s]\n}\n", ok && PQntuples(rows) > 0 ? "\n  " : "");
	PQclear(rows);
	return ok;
}

/* Appends the project up to the brace that closes it. */
static bool add_project(PGconn *db, const char *project, struct buf *out)
{
	PGresult *res = cli_query(db, cli_sql("export"), 1, &project);
	bool found = res && PQntuples(res) == 1;
	json_error_t e;

	if (res && !found)
		cli_error("no project %s", project);
	json_t *root = found ? json_loads(cli_single(res), 0, &e) : NULL;
	if (found && !root)
		cli_error("project %s: %s", project, e.text);
	char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
	bool ok = text != NULL;
	if (ok)
		buf_addf(out, "%.*s", (int)(strlen(text) - strlen("\n}")), text);
	free(text);
	json_decref(root);
	PQclear(res);
	return ok;
}

static int run_export(const struct cli *cli)
{
	bool secrets = cli_option(cli, "with-credentials");
	struct buf out = { 0 };

	if (!cli_is_id("PROJECT", cli->operand))
		return CLI_USAGE;
	struct keyring *keys = secrets ? cli_credential_keys(cli->conf) : NULL;
	PGconn *db = !secrets || keys ? cli_open(cli->conf, false) : NULL;
	/* One snapshot for both queries. */
	bool ok = db &&
		  cli_change(db, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", 0, NULL) >= 0 &&
		  add_project(db, cli->operand, &out) &&
		  add_credentials(db, cli->operand, keys, &out);
	if (ok)
		fwrite(out.p, 1, out.n, stdout);
	if (ok && secrets)
		cli_error("warning: the output has the credentials' secrets in clear");
	PQfinish(db);
	keyring_free(keys);
	if (out.p)
		explicit_bzero(out.p, out.cap);
	buf_free(&out);
	return ok ? CLI_OK : CLI_FAILED;
}

const struct cli_command cli_export = {
	.name = "export",
	.operand = "PROJECT",
	.help = "Print a project (its id) as import takes it; archived workflows are left out.",
	.options = {
		{ "with-credentials", NULL, "with the credentials' bodies, decrypted; otherwise only their ids and names" },
	},
	.run = run_export,
};
