/*
 * The parameters of statements that come from a request, its channel and the configuration.
 */
#include "request_private.h"

#include "channel_private.h"

#include "lib/metrics.h"

#include <math.h>

struct value *bind_claim(const struct request *request, struct value *v)
{
	return run_claim_bind(channel_claim(request_channel(request)), v);
}

struct value *bind_late_policy(const struct request *request, struct value *v)
{
	const struct conf *conf = request_context(request)->conf;
	const struct run_claim *claim = channel_claim(request_channel(request));

	value_text(v++, slice_of(conf_policy_name(conf_late_completion(conf, &claim->project_id))));
	value_bigint(v++, conf->late_window * 1000);
	return v;
}

void bind_journal_message(const struct request *request, struct value *v)
{
	struct buf text = { 0 }, clean = { 0 };

	message_describe(request_message(request),
		(size_t)request_context(request)->conf->journal_max_message, &text);
	scrubber_apply(channel_scrubber(request_channel(request)), (struct slice){ text.p, text.n },
		&clean);
	buf_free(&text);
	value_take(v, &clean);
}

void request_scrub(const struct request *request, struct value *text)
{
	field_scrub(channel_scrubber(request_channel(request)), text);
}

void observe_clock_skew(const struct request *request, const struct value *v)
{
	const struct route *route = request_route(request);
	int64_t received = request_received(request);
	int64_t now = db_clock_at(request_context(request)->db_clock, received);

	for (int i = 0; i < route->nfields; i++) {
		if (route->fields[i].type == FIELD_TIME && value_time_of(v) != received)
			metrics_observe(metrics_series(METRIC_WORKER_CLOCK_SKEW_SECONDS, NULL),
				fabs((double)(value_time_of(v) - now)) / 1e6);
		v += 1 + route->fields[i].given;
	}
}
