/*
 * cli credential: stores the credentials of a project's file. A secret leaves this process
 * encrypted and bound to its id; one that is stored already, under the same key, keeps its bytes.
 * One without a body, as `export` lists it, must be stored already, and keeps its body.
 */
#include "import.h"

#include "json.h"
#include "lib/jscan.h"

static const char put_credential[] =
	"INSERT INTO credentials (project_id, id, name, body) VALUES ($1, $2, $3, decode($4, "
	"'hex')) "
	"ON CONFLICT (project_id, id) DO UPDATE "
	"SET name = excluded.name, body = excluded.body, updated_at = now()";

/* $3 the name. How many rows there are, and whether the name differs. */
static const char rename_credential[] =
	"WITH changed AS ("
	"	UPDATE credentials SET name = $3 WHERE project_id = $1 AND id = $2 AND name <> $3 "
	"	RETURNING 1"
	") "
	"SELECT (SELECT count(*) FROM changed) "
	"FROM credentials WHERE project_id = $1 AND id = $2";

/* Has the row this body, under the first key? Then its bytes may stay as they are. */
static bool is_same(
	const PGresult *row, const struct keyring *keys, struct slice id, struct slice body)
{
	struct buf sealed = { 0 }, plain = { 0 };

	if (PQntuples(row) == 0)
		return false;
	buf_add_hex(&sealed, slice_of(cli_single(row)));
	bool same = keyring_open(keys, id, (struct slice){ sealed.p, sealed.n }, &plain) ==
			    KEYRING_PRIMARY &&
		    slice_eq(body, (struct slice){ plain.p, plain.n });
	buf_free(&sealed);
	buf_free(&plain);
	return same;
}

static bool keep_credential(struct import *im, const json_t *credential)
{
	const char *id = field_text(credential, "id");
	const char *values[] = { im->id, id, field_text(credential, "name") };
	PGresult *res = cli_query(im->db, rename_credential, 3, values);
	bool found = res && PQntuples(res) == 1;

	if (found)
		buf_addf(&im->done, "credential %s %s\n", id,
			*cli_single(res) == '1' ? "stored" : "unchanged");
	else if (res)
		cli_error("credential %s (%s) has no body, and none is stored: give it one, or "
			  "export with --with-credentials",
			id, values[2]);
	PQclear(res);
	return found;
}

/* body: the bytes of the file, so that the digits of numbers do not change. */
static bool store_credential(
	struct import *im, const struct keyring *keys, const json_t *credential, struct slice body)
{
	const char *id = field_text(credential, "id");
	const char *values[] = { im->id, id, field_text(credential, "name"), NULL };
	struct buf sealed = { 0 }, hex = { 0 };

	PGresult *row = cli_query(im->db,
		"SELECT encode(body, 'hex') FROM credentials WHERE project_id = $1 AND id = $2 AND "
		"name = $3",
		3, values);
	if (!row)
		return false;
	bool same = is_same(row, keys, slice_of(id), body);
	PQclear(row);
	buf_addf(&im->done, "credential %s %s\n", id, same ? "unchanged" : "stored");
	if (same)
		return true;
	keyring_seal(keys, slice_of(id), body, &sealed);
	cli_add_hex(&hex, (struct slice){ sealed.p, sealed.n });
	values[3] = hex.p;
	bool ok = cli_change(im->db, put_credential, 4, values) == 1;
	buf_free(&sealed);
	buf_free(&hex);
	return ok;
}

bool import_credentials(struct import *im)
{
	const json_t *list = json_object_get(im->project->root, "credentials");
	struct slice cursor = jscan_member(im->project->bytes, "credentials"), name, bytes;
	struct keyring *keys = json_array_size(list) > 0 ? cli_credential_keys(im->conf) : NULL;
	bool ok = json_array_size(list) == 0 || keys != NULL;

	for (size_t i = 0; ok && i < json_array_size(list); i++) {
		const json_t *credential = json_array_get(list, i);

		ok = jscan_next(&cursor, &name, &bytes);
		if (ok && json_is_object(json_object_get(credential, "body")))
			ok = store_credential(im, keys, credential, jscan_member(bytes, "body"));
		else if (ok)
			ok = keep_credential(im, credential);
	}
	keyring_free(keys);
	return ok;
}
