/*
 * value: the bytes that PostgreSQL gets.
 */
#include "db/value.h"

#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

static void expect(const struct value *v, const void *bytes, int n)
{
	assert_int_equal(v->n, n);
	assert_memory_equal(v->p, bytes, (size_t)n);
}

static void numbers(void **state)
{
	struct value v = { 0 };

	(void)state;
	value_bool(&v, true);
	expect(&v, "\1", 1);
	value_bool(&v, false);
	expect(&v, "\0", 1);
	value_int(&v, -2);
	expect(&v, "\xff\xff\xff\xfe", 4);
	value_bigint(&v, 0x0102030405060708);
	expect(&v, "\1\2\3\4\5\6\7\10", 8);
}

static void times_count_from_2000(void **state)
{
	struct value v = { 0 };

	(void)state;
	value_time(&v, 946684800000000);
	expect(&v, "\0\0\0\0\0\0\0\0", 8);
	assert_int_equal(value_time_of(&v), 946684800000000);
	value_time(&v, 946684800000001);
	expect(&v, "\0\0\0\0\0\0\0\1", 8);
	value_time(&v, 0);
	assert_int_equal(value_time_of(&v), 0);
	assert_int_equal(v.p[0] & 0x80, 0x80);
}

static void texts(void **state)
{
	const char *text = "text";
	struct value v = { 0 };
	struct buf b = { 0 };

	(void)state;
	value_text(&v, slice_of(text));
	assert_ptr_equal(v.p, text);
	value_text(&v, (struct slice){ 0 });
	assert_null(v.p);
	buf_adds(&b, "mine");
	value_take(&v, &b);
	assert_null(b.p);
	expect(&v, "mine", 4);
	value_take(&v, &b); /* an empty buffer is an empty text, not NULL */
	expect(&v, "", 0);
	assert_non_null(v.p);
	value_clear(&v);
	assert_null(v.p);
	value_clear(&v);
}

static void values_move_with_their_bytes(void **state)
{
	struct uuid u = uuid_new();
	struct value a = { 0 }, b = { 0 }, c = { 0 };
	struct buf text = { 0 };

	(void)state;
	value_uuid(&a, &u);
	value_copy16(&b, &a);
	expect(&b, u.b, 16);
	assert_ptr_equal(b.p, b.raw);
	value_move(&c, &a);
	assert_null(a.p);
	memset(&a, 0xff, sizeof(a)); /* nothing of it is needed any more */
	expect(&c, u.b, 16);
	a = (struct value){ 0 };
	value_copy16(&b, &a); /* NULL copies nothing */
	expect(&b, u.b, 16);
	buf_adds(&text, "mine");
	value_take(&b, &text);
	value_move(&c, &b);
	assert_null(b.owned);
	expect(&c, "mine", 4);
	value_clear(&c);
}

static void an_array(void **state)
{
	static const char bytes[] = "\0\0\0\1"
				    "\0\0\0\1"
				    "\0\0\0\x19"
				    "\0\0\0\2"
				    "\0\0\0\1"
				    "\0\0\0\2"
				    "ab"
				    "\xff\xff\xff\xff";
	struct value text = { 0 }, null = { 0 };
	struct buf out = { 0 };

	(void)state;
	value_text(&text, slice_of("ab"));
	value_array(&out, 25, 2);
	value_element(&out, &text);
	value_element(&out, &null);
	assert_int_equal(out.n, sizeof(bytes) - 1);
	assert_memory_equal(out.p, bytes, out.n);
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(times_count_from_2000),
		cmocka_unit_test(texts),
		cmocka_unit_test(values_move_with_their_bytes),
		cmocka_unit_test(an_array),
	};

	return cmocka_run_group_tests_name("value", tests, NULL, NULL);
}
