/*
 * cli rekey: encrypts every stored credential with credential_key that is encrypted with
 * credential_key_other. It goes through the table in key order, one bounded batch per transaction:
 * it may be stopped and started again at any time, and nothing waits long for it. A credential that
 * neither key decrypts is named and left as it is.
 */
#include "cli.h"

#include <stdlib.h>

enum { BATCH = 100 };

/* The next batch after ($1, $2). The lock keeps an import from being overwritten. */
static const char next[] = "SELECT project_id, id, encode(body, 'hex') AS body FROM credentials "
			   "WHERE (project_id, id) > ($1::uuid, $2::uuid) "
			   "ORDER BY project_id, id LIMIT $3::int FOR NO KEY UPDATE";

static const char store[] =
	"UPDATE credentials SET body = decode($3, 'hex') WHERE project_id = $1 AND id = $2";

struct rekey {
	PGconn *db;
	const struct keyring *keys;
	bool dry;
	char project[UUID_TEXT], id[UUID_TEXT]; /* where it is */
	long done, changed, failed;
};

static bool reseal(struct rekey *r, struct slice plain)
{
	struct buf sealed = { 0 }, hex = { 0 };
	bool ok = true;

	keyring_seal(r->keys, slice_of(r->id), plain, &sealed);
	cli_add_hex(&hex, (struct slice){ sealed.p, sealed.n });
	if (!r->dry)
		ok = cli_change(r->db, store, 3, (const char *[]){ r->project, r->id, hex.p }) == 1;
	r->changed++;
	buf_free(&sealed);
	buf_free(&hex);
	return ok;
}

static bool one(struct rekey *r, const char *hex)
{
	struct buf sealed = { 0 }, plain = { 0 };
	bool ok = true;

	buf_add_hex(&sealed, slice_of(hex));
	switch (keyring_open(
		r->keys, slice_of(r->id), (struct slice){ sealed.p, sealed.n }, &plain)) {
	case KEYRING_PRIMARY: break;
	case KEYRING_SECONDARY: ok = reseal(r, (struct slice){ plain.p, plain.n }); break;
	case KEYRING_NONE:
		r->failed++;
		cli_error("credential %s of project %s cannot be decrypted with either key", r->id,
			r->project);
		break;
	}
	if (plain.p != NULL)
		explicit_bzero(plain.p, plain.cap);
	buf_free(&plain);
	buf_free(&sealed);
	return ok;
}

/* How many there were; -1 (reported) if it fails. */
static int batch(struct rekey *r)
{
	char limit[12];
	int n = -1;
	bool ok;

	snprintf(limit, sizeof(limit), "%d", BATCH);
	if (cli_change(r->db, "BEGIN", 0, NULL) < 0)
		return -1;
	PGresult *res = cli_query(r->db, next, 3, (const char *[]){ r->project, r->id, limit });
	ok = res != NULL;
	for (n = 0; ok && n < PQntuples(res); n++) {
		snprintf(r->project, sizeof(r->project), "%s", cli_value(res, n, "project_id"));
		snprintf(r->id, sizeof(r->id), "%s", cli_value(res, n, "id"));
		ok = one(r, cli_value(res, n, "body"));
	}
	PQclear(res);
	return ok && cli_change(r->db, "COMMIT", 0, NULL) >= 0 ? n : -1;
}

static bool rekey(struct rekey *r)
{
	PGresult *res = cli_query(r->db, "SELECT count(*) FROM credentials", 0, NULL);
	long total = res ? atol(cli_single(res)) : -1;
	int n = total < 0 ? -1 : 0;

	PQclear(res);
	while (n >= 0 && (n = batch(r)) > 0) {
		r->done += n;
		cli_progress("credentials", r->done, r->done > total ? r->done : total);
	}
	if (n < 0)
		return false;
	printf("%s %ld of %ld credentials\n", r->dry ? "would re-encrypt" : "re-encrypted",
		r->changed, r->done);
	return r->failed == 0;
}

static int run_rekey(const struct cli *cli)
{
	static const char before_all[] = "00000000-0000-0000-0000-000000000000";
	struct keyring *keys = cli_credential_keys(cli->conf);
	struct rekey r = { .keys = keys, .dry = cli_option(cli, "dry-run") != NULL };

	strcpy(r.project, before_all);
	strcpy(r.id, before_all);
	bool ok = keys && (r.db = cli_open(cli->conf, true)) != NULL && rekey(&r);
	PQfinish(r.db);
	keyring_free(keys);
	return ok ? CLI_OK : CLI_FAILED;
}

const struct cli_command cli_rekey = {
	.name = "rekey",
	.help = "Re-encrypt with credential_key what is encrypted with credential_key_other.",
	.options = { { "dry-run", NULL, "count them, without changing them" } },
	.run = run_rekey,
};
