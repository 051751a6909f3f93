/*
 * Expands the embedded statements. Invariant: the SQL file is the only place where a statement's
 * parameters are declared; their types are read off its casts.
 */
#include "core/stmt.h"

#include <stdlib.h>

#include "core/fsm.h"
#include "sql.h"

/* From PostgreSQL's catalog pg_type. */
static const struct {
	const char *name;
	uint32_t oid;
} types[] = {
	{ "boolean", 16 },
	{ "bigint", 20 },
	{ "int", 23 },
	{ "text", 25 },
	{ "timestamptz", 1184 },
	{ "uuid", 2950 },
};

/* What the state machine lists, as SQL literals. */
static const struct {
	const char *name;
	void (*add)(struct buf *out);
} lists[] = {
	{ "outcomes", fsm_sql_outcomes },
	{ "states", fsm_sql_states },
	{ "events", fsm_sql_events },
	{ "state_of_reason", fsm_sql_state_of_reason },
};

static struct stmt stmts[countof(sql_statements)];
static struct db_stmt prepared[countof(sql_statements)];

static void expand(const char *text, const char *argument, struct buf *out);

/* Appends what stands for {{name argument}}. */
static void fill(const char *name, const char *argument, struct buf *out)
{
	if (strcmp(name, "from") == 0 && fsm_sql_from(argument, out))
		return;
	if (strcmp(name, "refusal") == 0 && fsm_sql_refusal(argument, out))
		return;
	if (strcmp(name, "event") == 0) {
		buf_adds(out, argument);
		return;
	}
	for (size_t i = 0; i < countof(lists); i++) {
		if (strcmp(name, lists[i].name) == 0) {
			lists[i].add(out);
			return;
		}
	}
	for (size_t i = 0; i < countof(sql_fragments); i++) {
		if (strcmp(sql_fragments[i].name, name) == 0) {
			expand(sql_fragments[i].text, argument, out);
			while (out->n > 0 && out->p[out->n - 1] == '\n')
				out->n--;
			return;
		}
	}
	fatalx("sql: nothing stands for {{%s %s}}", name, argument);
}

/* Appends text with its {{name}} and {{name argument}} filled in; without one it is the argument of
 * the fragment which the text is. */
static void expand(const char *text, const char *argument, struct buf *out)
{
	while (*text != '\0') {
		char name[32], arg[32] = "";
		int len = 0;

		if (sscanf(text, "{{%31[a-z_]%n %31[^}]%n}}", name, &len, arg, &len) >= 1 &&
			strncmp(text + len, "}}", 2) == 0) {
			fill(name, *arg == '\0' ? argument : arg, out);
			text += len + 2;
		} else {
			buf_addc(out, *text++);
		}
	}
}

char *stmt_expand(const char *text)
{
	struct buf sql = { 0 };

	expand(text, "", &sql);
	return sql.p;
}

/* Reads the parameters off their casts: $3::uuid[] is a column, $4::bigint a scalar. */
static void read_types(struct stmt *s)
{
	int last = 0;

	for (const char *p = strchr(s->sql, '$'); p != NULL; p = strchr(p + 1, '$')) {
		char name[16], array[3] = "";
		int n;

		if (sscanf(p, "$%d::%15[a-z]%2[][]", &n, name, array) < 2 || n < 1 ||
			n > STMT_COLUMNS)
			continue;
		last = n > last ? n : last;
		if (strcmp(array, "[]") != 0)
			continue;
		for (size_t i = 0; i < countof(types); i++)
			if (strcmp(types[i].name, name) == 0)
				s->types[n - 1] = types[i].oid;
		if (s->types[n - 1] == 0)
			fatalx("sql: %s: type %s of $%d is not known", s->name, name, n);
		s->columns = n > s->columns ? n : s->columns;
	}
	s->scalars = last - s->columns;
}

static void expand_all(void)
{
	for (size_t i = 0; i < countof(stmts); i++) {
		stmts[i].name = sql_statements[i].name;
		stmts[i].sql = stmt_expand(sql_statements[i].text);
		read_types(&stmts[i]);
		prepared[i].name = stmts[i].name;
		prepared[i].sql = stmts[i].sql;
		prepared[i].columns = sql_statements[i].columns;
	}
}

const struct stmt *stmt_get(const char *name)
{
	if (stmts[0].sql == NULL)
		expand_all();
	for (size_t i = 0; i < countof(stmts); i++)
		if (strcmp(stmts[i].name, name) == 0)
			return &stmts[i];
	fatalx("sql: no statement %s", name);
}

const struct db_stmt *stmt_all(size_t *n)
{
	if (stmts[0].sql == NULL)
		expand_all();
	*n = countof(prepared);
	return prepared;
}
