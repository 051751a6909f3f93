/*
 * cli json: checks a JSON document against tables of fields (json.h). The recursion is as
 * deep as the tables, whatever the document is.
 */
#include "json.h"

#include "cli.h"

static const char *const nouns[] = {
	[ID] = "a UUID",
	[NAME] = "a non-empty string",
	[TEXT] = "a string",
	[COUNT] = "a whole number from 1 to 2147483647",
	[SWITCH] = "true or false",
	[DIGESTS] = "a list of SHA-256 digests in hexadecimal digits",
	[OBJECT] = "an object",
	[LIST] = "a list",
};

void check_mistake(struct check *c, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cli_error("%s: %s", c->path.n ? c->path.p : "the project", text);
	c->mistakes++;
}

/* Goes down to a member; what comes back brings check_leave() up again. */
size_t check_enter(struct check *c, const char *name)
{
	size_t up = c->path.n;

	buf_addf(&c->path, "%s%s", up && *name ? "." : "", name);
	return up;
}

size_t check_enter_nth(struct check *c, const char *list, size_t i)
{
	size_t up = check_enter(c, list);

	buf_addf(&c->path, "[%zu]", i);
	return up;
}

void check_leave(struct check *c, size_t up)
{
	c->path.n = up;
	c->path.p[up] = '\0';
}

const char *field_text(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

size_t field_find(const json_t *list, const char *id)
{
	json_t *member;
	size_t i;

	json_array_foreach(list, i, member)
	{
		const char *other = field_text(member, "id");
		if (id && other && strcmp(id, other) == 0)
			break;
	}
	return i; /* the length when there is none */
}

/* Ids are compared as text from here on, so they are turned to lower case. */
static bool normalize_id(json_t *value)
{
	const char *text = json_string_value(value);
	struct uuid id;
	char lower[UUID_TEXT];

	return uuid_parse(slice_of(text), &id) &&
	       json_string_set(value, uuid_format(&id, lower)) == 0;
}

static bool is_digests(const json_t *value)
{
	const json_t *member;
	size_t i;

	json_array_foreach(value, i, member)
	{
		const char *text = json_string_value(member);
		if (!text || strlen(text) != 64 || strspn(text, "0123456789abcdef") != 64)
			return false;
	}
	return json_is_array(value);
}

static bool is_kind(json_t *value, enum field_kind kind)
{
	switch (kind) {
	case ID: return normalize_id(value);
	case NAME: return json_string_length(value) > 0;
	case TEXT: return json_is_string(value);
	case COUNT:
		return json_is_integer(value) && json_integer_value(value) >= 1 &&
		       json_integer_value(value) <= INT32_MAX;
	case SWITCH: return json_is_boolean(value);
	case DIGESTS: return is_digests(value);
	case OBJECT: return json_is_object(value);
	default: return json_is_array(value);
	}
}

static void check_value(struct check *c, json_t *value, const struct field *f)
{
	json_t *member;
	size_t i;

	if (!is_kind(value, f->kind)) {
		check_mistake(c, "must be %s", nouns[f->kind]);
	} else if (f->kind == OBJECT && f->of) {
		check_object(c, value, f->of);
	} else if (f->kind == LIST) {
		json_array_foreach(value, i, member)
		{
			size_t up = check_enter_nth(c, "", i), id;
			check_object(c, member, f->of);
			id = check_enter(c, "id");
			if (field_find(value, field_text(member, "id")) < i)
				check_mistake(c, "is a duplicate");
			check_leave(c, id);
			check_leave(c, up);
		}
	}
}

void check_object(struct check *c, json_t *object, const struct field *fields)
{
	const char *name;
	json_t *value;
	size_t up;

	if (!json_is_object(object)) {
		check_mistake(c, "must be an object");
		return;
	}
	for (const struct field *f = fields; f->name; f++) {
		value = json_object_get(object, f->name);
		up = check_enter(c, f->name);
		if (value && !(f->optional && json_is_null(value)))
			check_value(c, value, f);
		else if (!f->optional)
			check_mistake(c, "is missing");
		check_leave(c, up);
	}
	json_object_foreach(object, name, value)
	{
		const struct field *f = fields;
		while (f->name && strcmp(f->name, name) != 0)
			f++;
		up = check_enter(c, name);
		if (!f->name)
			check_mistake(c, "unknown key");
		check_leave(c, up);
	}
}
