/*
 * cli check: the checks that are more than a statement: keys, clocks, sealed credentials.
 */
#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/stmt.h"

/* A secret of fewer bytes can be guessed from one token. */
enum { SHORT_SECRET = 16 };

static void check_file(struct check_run *d, const char *name, const char *path)
{
	char *hint = xasprintf("chmod go-w,o-rwx %s", path);
	struct stat st;

	if (stat(path, &st) != 0)
		; /* keyring_load reports a missing file */
	else if (st.st_mode & (S_IROTH | S_IWOTH))
		check_report(d, CHECK_FAIL, hint, "%s: every user of this machine can %s %s", name,
			st.st_mode & S_IWOTH ? "write" : "read", path);
	else if (st.st_mode & S_IWGRP)
		check_report(d, CHECK_WARN, hint, "%s: its group can write %s", name, path);
	else if (strncmp(name, "worker_secret", 13) == 0 && st.st_size > 0 &&
		 st.st_size < SHORT_SECRET)
		check_report(d, CHECK_WARN, "make a better one with interlock keys --dir DIR",
			"%s: has only %d bytes and could be guessed", name, (int)st.st_size);
	free(hint);
}

void check_keys(struct check_run *d)
{
	const struct conf *conf = d->cli->conf;
	struct buf why = { 0 };
	struct keyring *keys = keyring_load(conf, &why);
	const char *name;
	char *path;

	for (char *rest = why.p, *one; keys == NULL && (one = strsep(&rest, ";")) != NULL;)
		check_report(d, CHECK_FAIL,
			"interlock keys --dir DIR makes missing keys; [keys] says where they are",
			"%s", one + strspn(one, " "));
	for (size_t i = 0; keyring_file(conf, i, &name, &path); i++) {
		if (path)
			check_file(d, name, path);
		free(path);
	}
	if (keys != NULL && strcmp(jwt_key_alg(keyring_signing_key(keys)), "RS256") == 0)
		check_report(d, CHECK_WARN,
			"unless Lightning uses the same key, make an Ed25519 key: interlock keys "
			"--dir DIR",
			"run_token_key: signing with an RSA key takes ten times as long as with "
			"Ed25519, once for each claimed run");
	keyring_free(keys);
	buf_free(&why);
}

/* Our clock is read before and after the database's: the clocks differ at least by how far the
 * database's lies outside of that interval. */
void check_clock(struct check_run *d)
{
	enum { BAD_MS = 30000, WARN_MS = 2000 };
	struct buf why = { 0 };
	int64_t before = now_us();
	PGresult *res = cli_ask(d->db, stmt_get("db_clock")->sql, 0, NULL, &why);
	int64_t after = now_us(), theirs = res ? atoll(cli_single(res)) : 0;
	int64_t ahead = theirs > after ? theirs - after : theirs < before ? theirs - before : 0;
	int64_t ms = llabs(ahead) / 1000;

	if (!res)
		check_report(d, CHECK_FAIL, NULL, "cannot be queried: %s", why.p);
	else if (ms >= WARN_MS)
		check_report(d, ms >= BAD_MS ? CHECK_FAIL : CHECK_WARN,
			"synchronize both machines with NTP; timedatectl shows whether they are",
			"the database's clock is %jd.%01jd s %s this machine's",
			(intmax_t)ms / 1000, (intmax_t)ms / 100 % 10,
			ahead > 0 ? "ahead of" : "behind");
	PQclear(res);
	buf_free(&why);
}

void check_credentials(struct check_run *d)
{
	enum { SAMPLE = 10000 };
	struct buf why = { 0 };
	struct keyring *keys = keyring_load_credential(d->cli->conf, &why);
	int count[KEYRING_SECONDARY + 1] = { 0 };
	char limit[12];

	snprintf(limit, sizeof(limit), "%d", SAMPLE);
	PGresult *res = keys ? cli_ask(d->db,
				       "SELECT id, encode(body, 'hex') AS body FROM credentials "
				       "ORDER BY updated_at DESC LIMIT $1::int",
				       1, (const char *[]){ limit }, &why)
			     : NULL;
	for (int i = 0; res && i < PQntuples(res); i++) {
		struct buf sealed = { 0 }, plain = { 0 };

		buf_add_hex(&sealed, slice_of(cli_value(res, i, "body")));
		count[keyring_open(keys, slice_of(cli_value(res, i, "id")),
			(struct slice){ sealed.p, sealed.n }, &plain)]++;
		if (plain.p != NULL)
			explicit_bzero(plain.p, plain.cap);
		buf_free(&plain);
		buf_free(&sealed);
	}
	if (!res)
		check_report(d, CHECK_SKIPPED, NULL, "%s", why.p);
	if (count[KEYRING_NONE] > 0)
		check_report(d, CHECK_FAIL,
			"set credential_key_other to the key that they were encrypted with, or "
			"import them again",
			"%d cannot be decrypted with either key", count[KEYRING_NONE]);
	if (count[KEYRING_SECONDARY] > 0)
		check_report(d, CHECK_WARN, "run interlock rekey",
			"%d can be decrypted only with credential_key_other",
			count[KEYRING_SECONDARY]);
	PQclear(res);
	keyring_free(keys);
	buf_free(&why);
}
