/*
 * cli look: the checks that are more than a statement: keys, clocks, sealed credentials.
 */
#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/stmt.h"

/* A secret of fewer bytes can be guessed from one token. */
enum { SHORT_SECRET = 16 };

static void check_file(struct doctor *d, const char *name, const char *path)
{
	char *remedy = xasprintf("chmod go-w,o-rwx %s", path);
	struct stat st;

	if (stat(path, &st) != 0)
		; /* whether it may be missing is keyring_load's business */
	else if (st.st_mode & (S_IROTH | S_IWOTH))
		check_found(d, CHECK_FAIL, remedy, "%s: every user of this machine may %s %s", name,
			st.st_mode & S_IWOTH ? "change" : "read", path);
	else if (st.st_mode & S_IWGRP)
		check_found(d, CHECK_WARN, remedy, "%s: its group may change %s", name, path);
	else if (strncmp(name, "worker_secret", 13) == 0 && st.st_size > 0 &&
		 st.st_size < SHORT_SECRET)
		check_found(d, CHECK_WARN, "interlock keys --dir DIR makes a better one",
			"%s: %d bytes are few enough to be guessed", name, (int)st.st_size);
	free(remedy);
}

void check_keys(struct doctor *d)
{
	const struct conf *conf = d->cli->conf;
	struct buf why = { 0 };
	struct keyring *keys = keyring_load(conf, &why);
	const char *name;
	char *path;

	for (char *rest = why.p, *one; keys == NULL && (one = strsep(&rest, ";")) != NULL;)
		check_found(d, CHECK_FAIL,
			"interlock keys --dir DIR makes those that are missing; [keys] names them",
			"%s", one + strspn(one, " "));
	for (size_t i = 0; keyring_file(conf, i, &name, &path); i++) {
		if (path)
			check_file(d, name, path);
		free(path);
	}
	if (keys != NULL && strcmp(jwt_key_alg(keyring_signing_key(keys)), "RS256") == 0)
		check_found(d, CHECK_WARN,
			"unless it is shared with Lightning: interlock keys --dir DIR makes an "
			"Ed25519 key",
			"run_token_key: a signature by an RSA key costs ten times one by Ed25519, "
			"once for each claimed run");
	keyring_free(keys);
	buf_free(&why);
}

/* Between two of our looks at our clock lies the database's: the distance is at least what lies
 * outside of them. */
void check_clock(struct doctor *d)
{
	enum { BAD_MS = 30000, WARN_MS = 2000 };
	struct buf why = { 0 };
	int64_t before = now_us();
	PGresult *res = cli_ask(d->db, stmt_get("db_clock")->sql, 0, NULL, &why);
	int64_t after = now_us(), theirs = res ? atoll(PQgetvalue(res, 0, 0)) : 0;
	int64_t ahead = theirs > after ? theirs - after : theirs < before ? theirs - before : 0;
	int64_t ms = llabs(ahead) / 1000;

	if (!res)
		check_found(d, CHECK_FAIL, NULL, "the database does not say: %s", why.p);
	else if (ms >= WARN_MS)
		check_found(d, ms >= BAD_MS ? CHECK_FAIL : CHECK_WARN,
			"let both machines be set by NTP: timedatectl says whether they are",
			"the database's is %jd.%01jd s %s this machine's", (intmax_t)ms / 1000,
			(intmax_t)ms / 100 % 10, ahead > 0 ? "ahead of" : "behind");
	PQclear(res);
	buf_free(&why);
}

void check_credentials(struct doctor *d)
{
	enum { SAMPLE = 10000 };
	struct buf why = { 0 };
	struct keyring *keys = keyring_load_credential(d->cli->conf, &why);
	int count[KEYRING_SECONDARY + 1] = { 0 };
	char limit[12];

	snprintf(limit, sizeof(limit), "%d", SAMPLE);
	PGresult *res = keys ? cli_ask(d->db,
				       "SELECT id, encode(body, 'hex') FROM credentials "
				       "ORDER BY updated_at DESC LIMIT $1::int",
				       1, (const char *[]){ limit }, &why)
			     : NULL;
	for (int i = 0; res && i < PQntuples(res); i++) {
		struct buf sealed = { 0 }, plain = { 0 };

		buf_add_hex(&sealed, slice_of(PQgetvalue(res, i, 1)));
		count[keyring_open(keys, slice_of(PQgetvalue(res, i, 0)),
			(struct slice){ sealed.p, sealed.n }, &plain)]++;
		if (plain.p != NULL)
			explicit_bzero(plain.p, plain.cap);
		buf_free(&plain);
		buf_free(&sealed);
	}
	if (!res)
		check_found(d, CHECK_SKIPPED, NULL, "%s", why.p);
	if (count[KEYRING_NONE] > 0)
		check_found(d, CHECK_FAIL,
			"name the key that they were sealed with as credential_key_other; or "
			"import them again",
			"%d open with no key", count[KEYRING_NONE]);
	if (count[KEYRING_SECONDARY] > 0)
		check_found(d, CHECK_WARN, "interlock rekey", "%d open only with the other key",
			count[KEYRING_SECONDARY]);
	PQclear(res);
	keyring_free(keys);
	buf_free(&why);
}
