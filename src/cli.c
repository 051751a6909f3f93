/*
 * cli: the operator's command. Finds the subcommand and its options in tables, reads the
 * configuration, and hands over; knows nothing of what the subcommands do. The usage that is
 * printed and the options that are accepted come from the same entries.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <unistd.h>

#include "schema.h"

static const char default_file[] = "/etc/interlock/interlock.conf";

static const struct cli_command *const commands[] = { &cli_migrate, &cli_import, &cli_enqueue,
	&cli_retry, &cli_runs, &cli_run, &cli_keys };

static const struct cli_option common[] = {
	{ "-c", "FILE", "the configuration file (/etc/interlock/interlock.conf)" },
	{ "--help", NULL, "this text" },
	{ "--version", NULL, "the version of interlock and of its schema" },
};

/* A line whatever the text holds: it may come from the server or from a file. */
void cli_error(const char *fmt, ...)
{
	char text[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (size_t n = strlen(text); n > 0 && text[n - 1] == '\n'; n--)
		text[n - 1] = '\0'; /* libpq's sentences end so */
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
			printf("  %-10s%s\n", commands[i]->name, commands[i]->help);
		printf("\nOptions of a command: interlock COMMAND --help\n\n");
	}
	for (size_t i = 0; i < countof(common); i++)
		print_option("", &common[i]);
	return CLI_OK;
}

/* Takes the options up to the first operand off argv, for `command` NULL those in front of a
 * command. -1 to go on, or the status to leave with. getopt says what is wrong. */
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
	optind = 0; /* starts getopt anew */
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

static int run(struct cli *cli, const char *file)
{
	struct buf mistakes = { 0 };
	struct conf *conf;

	if (!file && access(default_file, F_OK) == 0)
		file = default_file;
	conf = conf_load(file, &mistakes);
	if (!conf) {
		fputs(mistakes.p, stderr);
		buf_free(&mistakes);
		return CLI_FAILED;
	}
	cli->conf = conf;
	int status = cli->command->run(cli);
	conf_free(conf);
	return status;
}

int main(int argc, char **argv)
{
	char interlock[] = "interlock";
	struct cli cli = { 0 };
	const char *file = NULL;

	argv[0] = interlock;
	int status = take_options(argc, argv, NULL, &cli, &file);
	if (status < 0 && optind == argc) {
		cli_error("no command; see interlock --help");
		return CLI_USAGE;
	}
	if (status < 0) {
		argv += optind;
		argc -= optind;
		cli.command = find_command(argv[0]);
		if (!cli.command) {
			cli_error("no command \"%s\"; see interlock --help", argv[0]);
			return CLI_USAGE;
		}
		argv[0] = interlock;
		status = take_options(argc, argv, cli.command, &cli, &file);
	}
	if (status < 0) {
		cli.operands = argv + optind;
		if (argc - optind != (cli.command->operand ? 1 : 0)) {
			cli_error("%s takes %s%s; see interlock %s --help", cli.command->name,
				cli.command->operand ? "one " : "no operand",
				cli.command->operand ? cli.command->operand : "",
				cli.command->name);
			return CLI_USAGE;
		}
		status = run(&cli, file);
	}
	if (fflush(stdout) != 0 || ferror(stdout)) {
		cli_error("cannot write the output: %s", strerror(errno));
		return CLI_FAILED;
	}
	return status;
}
