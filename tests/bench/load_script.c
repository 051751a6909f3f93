/*
 * What a worker says, in order. The run is the shortest that has everything: two jobs, three lines
 * of log, an output of 1 KB for each job.
 */
#include "load.h"
#include "lib/jscan.h"

#include <stdlib.h>

/* As JSON.stringify makes it of the text of an object of 1,024 bytes. */
static const char *output(void)
{
	enum { SIZE = 1024 };
	static char text[SIZE + 16];

	if (text[0] == '\0') {
		int n = sprintf(text, "\"{\\\"data\\\":\\\"");

		memset(text + n, 'x', SIZE - 11);
		strcpy(text + n + SIZE - 11, "\\\"}\"");
	}
	return text;
}

/* Version 4, as workers make them. */
static void new_id(char out[UUID_TEXT])
{
	struct uuid id;

	random_bytes(&id, sizeof(id));
	id.b[6] = (id.b[6] & 0x0f) | 0x40;
	id.b[8] = (id.b[8] & 0x3f) | 0x80;
	uuid_format(&id, out);
}

/* A JSON string of known length without escapes. */
static bool take_string(struct slice raw, char *out, size_t size)
{
	if (jscan_type(raw) != JSCAN_STRING || raw.n - 2 >= size)
		return false;
	memcpy(out, raw.p + 1, raw.n - 2);
	out[raw.n - 2] = '\0';
	return true;
}

static void put_nothing(struct slot *slot, struct buf *b)
{
	(void)slot;
	buf_adds(b, "{}");
}

static void put_claim(struct slot *slot, struct buf *b)
{
	(void)slot;
	buf_adds(b, "{\"demand\":1,\"worker_name\":null,\"queues\":[\"manual\",\"*\"]}");
}

static bool take_claim(struct slot *slot, struct slice response)
{
	struct slice runs = jscan_member(response, "runs"), key, run, token;

	if (!jscan_next(&runs, &key, &run))
		return false;
	strcpy(slot->topic, "run:");
	token = jscan_member(run, "token");
	slot->token.n = 0;
	buf_add(&slot->token, token.p, token.n);
	slot->step = 0;
	return take_string(jscan_member(run, "id"), slot->topic + 4, UUID_TEXT);
}

static void put_join(struct slot *slot, struct buf *b)
{
	buf_addf(b, "{\"token\":%s}", slot->token.p);
}

static bool take_plan(struct slot *slot, struct slice response)
{
	struct slice jobs = jscan_member(response, "jobs"), key, job;
	int n = 0;

	while (n < 2 && jscan_next(&jobs, &key, &job))
		n += take_string(jscan_member(job, "id"), slot->jobs[n], UUID_TEXT);
	return n == 2 &&
	       take_string(jscan_member(response, "dataclip_id"), slot->clips[0], UUID_TEXT);
}

static void put_dataclip(struct slot *slot, struct buf *b)
{
	buf_addf(b, "{\"id\":\"%s\"}", slot->clips[0]);
}

static void put_log(struct slot *slot, struct buf *b)
{
	buf_addf(b,
		"{\"run_id\":\"%s\",\"message\":[\"Operation 1 complete in "
		"12ms\"],\"source\":\"R/T\","
		"\"level\":\"info\",\"timestamp\":\"%lld\"}",
		slot->topic + 4, (long long)now_us());
}

static void put_step_log(struct slot *slot, struct buf *b)
{
	buf_addf(b,
		"{\"run_id\":\"%s\",\"message\":[\"Starting operation\",1],\"source\":\"R/T\","
		"\"level\":\"info\",\"timestamp\":\"%lld\",\"step_id\":\"%s\"}",
		slot->topic + 4, (long long)now_us(), slot->steps[slot->step]);
}

static void put_run_start(struct slot *slot, struct buf *b)
{
	(void)slot;
	buf_addf(b,
		"{\"timestamp\":\"%lld\",\"versions\":{\"node\":\"18.20.4\",\"worker\":\"1.25.0\","
		"\"@openfn/language-common\":[\"3.2.3\"]}}",
		(long long)now_us());
}

static void put_step_start(struct slot *slot, struct buf *b)
{
	new_id(slot->steps[slot->step]);
	buf_addf(b,
		"{\"step_id\":\"%s\",\"job_id\":\"%s\",\"input_dataclip_id\":\"%s\","
		"\"timestamp\":\"%lld\"}",
		slot->steps[slot->step], slot->jobs[slot->step], slot->clips[slot->step],
		(long long)now_us());
}

static void put_step_complete(struct slot *slot, struct buf *b)
{
	new_id(slot->clips[slot->step + 1]);
	buf_addf(b,
		"{\"step_id\":\"%s\",\"job_id\":\"%s\",\"reason\":\"success\",\"error_type\":null,"
		"\"error_message\":null,\"output_dataclip\":%s,\"output_dataclip_id\":\"%s\","
		"\"mem\":{\"job\":23456789,\"system\":123456789},\"duration\":12,"
		"\"thread_id\":\"3\",\"timestamp\":\"%lld\"}",
		slot->steps[slot->step], slot->jobs[slot->step], output(),
		slot->clips[slot->step + 1], (long long)now_us());
}

static bool take_step(struct slot *slot, struct slice response)
{
	(void)response;
	slot->step = 1;
	return true;
}

static void put_run_complete(struct slot *slot, struct buf *b)
{
	buf_addf(b,
		"{\"reason\":\"success\",\"error_type\":null,\"error_message\":null,"
		"\"final_dataclip_id\":\"%s\",\"timestamp\":\"%lld\"}",
		slot->clips[2], (long long)now_us());
}

static const struct message lifecycle[] = {
	{ "claim", TOPIC_QUEUE, true, put_claim, take_claim },
	{ "phx_join", TOPIC_RUN, false, put_join },
	{ "fetch:plan", TOPIC_RUN, false, put_nothing, take_plan },
	{ "fetch:dataclip", TOPIC_RUN, false, put_dataclip },
	{ "run:log", TOPIC_RUN, false, put_log },
	{ "run:log", TOPIC_RUN, false, put_log },
	{ "run:start", TOPIC_RUN, true, put_run_start },
	{ "step:start", TOPIC_RUN, true, put_step_start },
	{ "run:log", TOPIC_RUN, false, put_step_log },
	{ "step:complete", TOPIC_RUN, true, put_step_complete, take_step },
	{ "step:start", TOPIC_RUN, true, put_step_start },
	{ "step:complete", TOPIC_RUN, true, put_step_complete },
	{ "run:complete", TOPIC_RUN, true, put_run_complete },
	{ "phx_leave", TOPIC_RUN, false, put_nothing },
};
static const struct message heartbeat = { "heartbeat", TOPIC_PHOENIX, false, put_nothing };
static const struct message claim_empty = { "claim", TOPIC_QUEUE, false, put_claim };

static const struct mode modes[] = {
	{ "lifecycle", lifecycle, countof(lifecycle), .joins = true },
	{ "heartbeat", &heartbeat, 1 }, { "claim-empty", &claim_empty, 1, .joins = true },
	{ "claim", lifecycle, 1, .joins = true }, /* and what was claimed is not joined */
	{ "idle", NULL, 0, .joins = true, .holds = true },
	{ "joined", lifecycle, 2, .joins = true, .holds = true }, /* and the run's channel */
};

const struct mode *mode_find(const char *name)
{
	for (size_t i = 0; i < countof(modes); i++)
		if (strcmp(modes[i].name, name) == 0)
			return &modes[i];
	return NULL;
}
