/*
 * cli triggers, trigger-key: triggers, and the keys that their webhooks require. A key is shown
 * once, when it is made; its digest is stored.
 */
#include "cli.h"

#include "lib/crypto.h"

/* False (reported) if there is no such trigger. */
static bool store(const struct cli *cli, const char *sql, int n, const char *const *values)
{
	PGconn *db = cli_open(cli->conf, true);
	int rows = db ? cli_change(db, sql, n, values) : -1;

	if (rows == 0)
		cli_error("no trigger %s", cli->operand);
	PQfinish(db);
	return rows == 1;
}

static int make_key(const struct cli *cli)
{
	uint8_t bytes[32];
	struct buf key = { 0 };
	char digest[65];
	const char *values[] = { cli->operand, digest, cli_option(cli, "only") ? "t" : "f" };

	random_bytes(bytes, sizeof(bytes));
	cli_add_hex(&key, (struct slice){ (char *)bytes, sizeof(bytes) });
	crypto_sha256_hex(key.p, key.n, digest);
	bool ok = store(cli,
		"UPDATE triggers SET keys = CASE WHEN $3::boolean THEN '{}' ELSE keys END || "
		"$2::text "
		"WHERE id = $1",
		3, values);
	if (ok && cli_option(cli, "json"))
		printf("{\"trigger_id\":\"%s\",\"key\":\"%s\"}\n", cli->operand, key.p);
	else if (ok)
		printf("%s\n", key.p);
	explicit_bzero(key.p, key.cap);
	buf_free(&key);
	return ok ? CLI_OK : CLI_FAILED;
}

static int run_trigger_key(const struct cli *cli)
{
	bool none = cli_option(cli, "none");

	if (!cli_is_id("TRIGGER", cli->operand))
		return CLI_USAGE;
	if (none && cli_option(cli, "only")) {
		cli_error("trigger-key takes either --only or --none, not both");
		return CLI_USAGE;
	}
	if (!none)
		return make_key(cli);
	return store(cli, "UPDATE triggers SET keys = '{}' WHERE id = $1", 1, &cli->operand)
		       ? CLI_OK
		       : CLI_FAILED;
}

static int run_triggers(const struct cli *cli)
{
	return cli_list(cli, cli_sql("triggers"), 1, &cli->operand);
}

const struct cli_command cli_triggers = {
	.name = "triggers",
	.operand = "[WORKFLOW]",
	.help = "List the triggers, or those of one workflow (id or name).",
	.options = {
		{ "json", NULL, "print a JSON array" },
	},
	.run = run_triggers,
};

const struct cli_command cli_trigger_key = {
	.name = "trigger-key",
	.operand = "TRIGGER",
	.help = "Make and print a key for this trigger; its webhook then requires one.",
	.options = {
		{ "only", NULL, "remove all other keys" },
		{ "none", NULL, "remove all keys; requests then need none" },
		{ "json", NULL, "print a JSON object" },
	},
	.run = run_trigger_key,
};
