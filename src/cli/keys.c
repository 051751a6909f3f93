/*
 * cli keys: makes the secrets that the configuration's [keys] name. A key that is already there is
 * never touched: stored credentials may be encrypted with it. A file appears whole, with its mode,
 * or not at all.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/crypto.h"
#include "lib/jwt.h"
#include "lib/systemd.h"

/* 32 random bytes in hexadecimal digits. */
static void make_hex(struct buf *out)
{
	uint8_t bytes[CRYPTO_KEY_BYTES];

	random_bytes(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		buf_addf(out, "%02x", bytes[i]);
	buf_addc(out, '\n');
}

static const struct {
	const char *name;
	void (*make)(struct buf *out);
} keys[] = {
	{ "worker_secret", make_hex },
	{ "run_token_key", jwt_make_pair },
	{ "credential_key", make_hex },
};

static bool write_all(int fd, const struct buf *b)
{
	size_t done = 0;
	ssize_t n = 1;

	while (done < b->n && n > 0)
		if ((n = write(fd, b->p + done, b->n - done)) > 0)
			done += (size_t)n;
	return done == b->n && fsync(fd) == 0;
}

/* Written beside its place and linked there: link(2) does not overwrite. */
static bool make_key(const char *dir, const char *name, void (*make)(struct buf *out))
{
	char *path = xasprintf("%s/%s", dir, name);
	char *aside = xasprintf("%s/.%s.%d", dir, name, (int)getpid());
	struct buf text = { 0 };
	bool made = false, kept = access(path, F_OK) == 0;
	int fd = kept ? -1 : open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd >= 0) {
		make(&text);
		made = write_all(fd, &text) && link(aside, path) == 0;
		kept = !made && errno == EEXIST;
	}
	if (made || kept)
		printf("%s %s\n", made ? "made" : "kept", path);
	else
		cli_error("cannot make %s: %s", path, strerror(errno));
	if (fd >= 0) {
		close(fd);
		unlink(aside);
	}
	buf_free(&text);
	free(path);
	free(aside);
	return made || kept;
}

static int make_keys(const char *dir)
{
	if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
		cli_error("cannot make %s: %s", dir, strerror(errno));
		return CLI_FAILED;
	}
	for (size_t i = 0; i < countof(keys); i++)
		if (!make_key(dir, keys[i].name, keys[i].make))
			return CLI_FAILED;
	return CLI_OK;
}

static int print_public(const struct conf *conf)
{
	struct buf pem = { 0 }, err = { 0 };
	struct jwt_key *key = NULL;

	if (systemd_read_secret(conf->run_token_key, "run_token_key", &pem, &err))
		key = jwt_key_pair(pem.p, pem.n, &err);
	pem.n = 0;
	if (key) {
		jwt_public_pem(key, &pem);
		fwrite(pem.p, 1, pem.n, stdout);
	} else {
		cli_error("%s", err.p);
	}
	jwt_key_free(key);
	buf_free(&pem);
	buf_free(&err);
	return key ? CLI_OK : CLI_FAILED;
}

static int run_keys(const struct cli *cli)
{
	const char *dir = cli_option(cli, "dir");

	if (!dir == !cli_option(cli, "public")) {
		cli_error("keys needs either --dir DIR or --public; see interlock keys --help");
		return CLI_USAGE;
	}
	return dir ? make_keys(dir) : print_public(cli->conf);
}

const struct cli_command cli_keys = {
	.name = "keys",
	.help = "Make the keys for [keys], or print the public key for workers.",
	.options = {
		{ "dir", "DIR", "make the keys that are missing in this folder" },
		{ "public", NULL, "print the public key that verifies run tokens" },
	},
	.run = run_keys,
};
