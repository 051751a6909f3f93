/*
 * interlock: the operator's command. Finds the subcommand and its options in tables, reads the
 * configuration, and calls the subcommand. The usage that is printed and the options that are
 * accepted come from the same tables.
 */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <unistd.h>

#include "db/schema.h"

/* The name in getopt's errors. */
static char program[] = "interlock";

static const char default_file[] = "/etc/interlock/interlock.conf";

/* In the order in which they are listed. */
/* clang-format off */
static const struct cli_command *const commands[] = {
	&cli_migrate,
	&cli_import,
	&cli_export,
	&cli_delete,
	&cli_enqueue,
	&cli_retry,
	&cli_cancel,
	&cli_accept,
	&cli_discard,
	&cli_runs,
	&cli_run,
	&cli_why,
	&cli_journal,
	&cli_verify,
	&cli_lost,
	&cli_policy,
	&cli_workers,
	&cli_top,
	&cli_prune,
	&cli_keys,
	&cli_rekey,
	&cli_triggers,
	&cli_trigger_key,
	&cli_check,
};
/* clang-format on */

static const struct cli_option common[] = {
	{ "-c", "FILE", "the configuration file (/etc/interlock/interlock.conf, if it exists)" },
	{ "--help", NULL, "print this help" },
	{ "--version", NULL, "print the versions of interlock and of its schema" },
};

/* One line, without control characters: the text may come from the server or from a file. */
void cli_error(const char *fmt, ...)
{
	char text[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (size_t n = strlen(text); n > 0 && text[n - 1] == '\n'; n--)
		text[n - 1] = '\0'; /* libpq's messages end with one */
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = ' ';
	fprintf(stderr, "interlock: %s\n", text);
}

const char *cli_option(const struct cli *cli, const char *name)
{
	for (int i = 0; i < CLI_OPTIONS && cli->command->options[i].name; i++)
		if (strcmp(cli->command->options[i].name, name) == 0)
			return cli->given[i];
	fatalx("%s has no option --%s", cli->command->name, name);
}

bool cli_number(const struct cli *cli, const char *name, int min, int max, int def, int *out)
{
	const char *text = cli_option(cli, name);
	char *end;

	*out = def;
	if (!text)
		return true;
	errno = 0;
	long n = strtol(text, &end, 10);
	if (errno || end == text || *end || n < min || n > max) {
		cli_error(
			"--%s: got \"%s\", expected a number from %d to %d", name, text, min, max);
		return false;
	}
	*out = (int)n;
	return true;
}

bool cli_duration(
	const struct cli *cli, const char *name, int64_t min, const char *expected, int64_t *ms)
{
	const char *text = cli_option(cli, name);

	if (!text || (conf_parse_duration(text, ms) && *ms >= min))
		return true;
	cli_error("--%s: got \"%s\", expected a duration %s", name, text, expected);
	return false;
}

bool cli_is_word(const struct cli *cli, const char *name, const char *const *words)
{
	const char *text = cli_option(cli, name);
	struct buf list = { 0 };
	bool found = text == NULL;

	for (size_t i = 0; !found && words[i]; i++) {
		found = strcmp(text, words[i]) == 0;
		buf_addf(&list, "%s%s", i > 0 ? ", " : "", words[i]);
	}
	if (!found)
		cli_error("--%s: got \"%s\", expected one of %s", name, text, list.p);
	buf_free(&list);
	return found;
}

bool cli_is_id(const char *what, const char *text)
{
	struct uuid id;

	if (!text || uuid_parse(slice_of(text), &id))
		return true;
	cli_error("%s: got \"%s\", expected a UUID", what, text);
	return false;
}

bool cli_read(const char *path, struct buf *b)
{
	int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : 1;

	while (n > 0) {
		buf_reserve(b, 65536);
		n = read(fd, b->p + b->n, 65536);
		if (n > 0)
			b->n += (size_t)n;
	}
	if (n < 0)
		cli_error("cannot read %s: %s", path, strerror(errno));
	else
		b->p[b->n] = '\0';
	if (fd > STDIN_FILENO)
		close(fd);
	return n == 0;
}

struct keyring *cli_credential_keys(const struct conf *conf)
{
	struct buf err = { 0 };
	struct keyring *keys = keyring_load_credential(conf, &err);

	if (keys == NULL)
		cli_error("%s", err.p);
	buf_free(&err);
	return keys;
}

void cli_add_hex(struct buf *b, struct slice bytes)
{
	for (size_t i = 0; i < bytes.n; i++)
		buf_addf(b, "%02x", (unsigned char)bytes.p[i]);
}

static void print_option(const char *dashes, const struct cli_option *o)
{
	int n = printf("  %s%s%s%s", dashes, o->name, o->arg ? " " : "", o->arg ? o->arg : "");

	printf("%*s%s\n", n < 24 ? 24 - n : 1, "", o->help);
}

static int print_usage(const struct cli_command *command)
{
	if (command) {
		printf("usage: interlock %s%s%s [options]\n\n%s\n\n", command->name,
			command->operand ? " " : "", command->operand ? command->operand : "",
			command->help);
		for (int i = 0; i < CLI_OPTIONS && command->options[i].name; i++)
			print_option("--", &command->options[i]);
	} else {
		printf("usage: interlock [-c FILE] COMMAND [options]\n\n");
		for (size_t i = 0; i < countof(commands); i++)
			printf("  %-13s%s\n", commands[i]->name, commands[i]->help);
		printf("\nFor the options of a command: interlock COMMAND --help\n\n");
	}
	for (size_t i = 0; i < countof(common); i++)
		print_option("", &common[i]);
	return CLI_OK;
}

/* Takes the options up to the first operand off argv, for `command` NULL those in front of a
 * command. -1 to continue, or the exit status. getopt reports errors. */
static int take_options(int argc, char **argv, const struct cli_command *command, struct cli *cli,
	const char **file)
{
	struct option options[CLI_OPTIONS + 3] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
	};
	enum { FIRST = 256 };
	int c;

	for (int i = 0; command && i < CLI_OPTIONS && command->options[i].name; i++)
		options[i + 2] = (struct option){ command->options[i].name,
			command->options[i].arg ? required_argument : no_argument, NULL,
			FIRST + i };
	optind = 0; /* restarts getopt */
	while ((c = getopt_long(argc, argv, command ? "c:h" : "+c:h", options, NULL)) != -1) {
		if (c == 'c') {
			*file = optarg;
		} else if (c == 'h') {
			return print_usage(command);
		} else if (c == 'v') {
			printf("interlock %s, schema %d\n", INTERLOCK_VERSION, schema_version());
			return CLI_OK;
		} else if (c >= FIRST) {
			cli->given[c - FIRST] = optarg ? optarg : "";
		} else {
			return CLI_USAGE;
		}
	}
	return -1;
}

static const struct cli_command *find_command(const char *name)
{
	for (size_t i = 0; i < countof(commands); i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

/* A running daemon's systemd credentials, for users that may read them: the keys may be nowhere
 * else. */
static void find_credentials(void)
{
	static const char folder[] = "/run/credentials/interlockd.service";

	if (access(folder, R_OK | X_OK) == 0)
		setenv("CREDENTIALS_DIRECTORY", folder, 0);
}

static int run(struct cli *cli, const char *file)
{
	struct buf mistakes = { 0 };
	struct conf *conf;

	if (!file && access(default_file, F_OK) == 0)
		file = default_file;
	find_credentials();
	conf = conf_load(file, &mistakes);
	if (!conf && !cli->command->allows_invalid_conf) {
		fputs(mistakes.p, stderr);
		buf_free(&mistakes);
		return CLI_FAILED;
	}
	cli->file = file;
	cli->conf = conf;
	cli->mistakes = mistakes.p;
	int status = cli->command->run(cli);
	conf_free(conf);
	buf_free(&mistakes);
	return status;
}

static int dispatch(int argc, char **argv)
{
	struct cli cli = { 0 };
	const char *file = NULL;
	int status = take_options(argc, argv, NULL, &cli, &file);

	if (status >= 0)
		return status;
	if (optind == argc) {
		cli_error("no command given; see interlock --help");
		return CLI_USAGE;
	}
	const char *name = argv[optind];
	cli.command = find_command(name);
	if (!cli.command) {
		cli_error("unknown command \"%s\"; see interlock --help", name);
		return CLI_USAGE;
	}
	argv += optind;
	argc -= optind;
	argv[0] = program;
	status = take_options(argc, argv, cli.command, &cli, &file);
	if (status >= 0)
		return status;
	const char *operand = cli.command->operand;
	bool optional = operand && *operand == '[';
	int n = argc - optind;
	if (n > (operand ? 1 : 0) || (n == 0 && operand && !optional)) {
		cli_error("%s takes %s%s; see interlock %s --help", name,
			optional  ? "at most one argument, "
			: operand ? "exactly one argument, "
				  : "no arguments",
			operand ? operand : "", name);
		return CLI_USAGE;
	}
	cli.operand = n > 0 ? argv[optind] : NULL;
	return run(&cli, file);
}

int main(int argc, char **argv)
{
	argv[0] = program;
	int status = dispatch(argc, argv);
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	cli_error("cannot write the output: %s", strerror(errno));
	return CLI_FAILED;
}
