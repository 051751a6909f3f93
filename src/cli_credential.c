/*
 * cli credential: stores the credentials of a project's file. A secret leaves this process sealed,
 * and bound to its id; one that is stored already, under the same key, keeps its bytes.
 */
#include "cli_import.h"

#include "cli_field.h"
#include "crypt.h"
#include "sd.h"
#include "slice.h"

static const char put_credential[] =
	"INSERT INTO credentials (project_id, id, name, body) VALUES ($1, $2, $3, $4::bytea) "
	"ON CONFLICT (project_id, id) DO UPDATE "
	"SET name = excluded.name, body = excluded.body, updated_at = now()";

/* Does the row hold this body, under this key? Then its bytes may stay as they are. */
static bool holds(
	const PGresult *row, const uint8_t key[CRYPT_KEY], struct slice id, struct slice body)
{
	struct buf plain = { 0 };
	size_t n;

	if (PQntuples(row) == 0)
		return false;
	unsigned char *sealed = PQunescapeBytea((const unsigned char *)PQgetvalue(row, 0, 0), &n);
	bool same = sealed &&
		    crypt_open(key, id, (struct slice){ (const char *)sealed, n }, &plain) &&
		    slice_eq(body, (struct slice){ plain.p, plain.n });
	PQfreemem(sealed);
	buf_free(&plain);
	return same;
}

/* body: the bytes of the file, so that no number in it changes its digits. */
static bool store_credential(struct import *im, const uint8_t key[CRYPT_KEY],
	const json_t *credential, struct slice body)
{
	const char *id = field_text(credential, "id");
	const char *values[] = { im->id, id, field_text(credential, "name"), NULL };
	struct buf sealed = { 0 }, hex = { 0 };

	PGresult *row = cli_query(im->db,
		"SELECT body FROM credentials WHERE project_id = $1 AND id = $2 AND name = $3", 3,
		values);
	if (!row)
		return false;
	bool same = holds(row, key, slice_of(id), body);
	PQclear(row);
	buf_addf(&im->done, "credential %s %s\n", id, same ? "unchanged" : "stored");
	if (same)
		return true;
	crypt_seal(key, slice_of(id), body, &sealed);
	buf_adds(&hex, "\\x");
	for (size_t i = 0; i < sealed.n; i++)
		buf_addf(&hex, "%02x", (unsigned char)sealed.p[i]);
	values[3] = hex.p;
	bool ok = cli_change(im->db, put_credential, 4, values) == 1;
	buf_free(&sealed);
	buf_free(&hex);
	return ok;
}

static bool read_key(const struct conf *conf, uint8_t key[CRYPT_KEY])
{
	struct buf text = { 0 }, err = { 0 };
	bool ok = false;

	if (!sd_read_secret(conf->credential_key, "credential_key", &text, &err))
		cli_error("%s", err.p);
	else if (!(ok = crypt_key_parse((struct slice){ text.p, text.n }, key)))
		cli_error("credential_key: must be 64 hexadecimal digits or 44 characters of "
			  "base64; interlock keys makes one");
	buf_free(&text);
	buf_free(&err);
	return ok;
}

bool import_credentials(struct import *im)
{
	const json_t *list = json_object_get(im->project->root, "credentials");
	struct slice cursor = slice_get(im->project->bytes, "credentials"), name, bytes;
	uint8_t key[CRYPT_KEY];
	json_t *credential;
	size_t i;

	if (json_array_size(list) > 0 && !read_key(im->conf, key))
		return false;
	json_array_foreach(list, i, credential) if (!slice_next(&cursor, &name, &bytes) ||
						    !store_credential(im, key, credential,
							    slice_get(bytes, "body"))) return false;
	return true;
}
