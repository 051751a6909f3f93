/*
 * batch_settings: what every connection sets (batch_settings.h).
 */
#include "core/batch_settings.h"

/* On every connection. Plans do not change with the tables' sizes; hash joins stay, for without
 * them joins between CTEs become quadratic. And no backend outlives its coordinator for long: one
 * that has half a batch, or waits for a lock, would keep the work orders locked that the same
 * messages, sent again over another connection, wait for. */
const char *const batch_settings[BATCH_SETTINGS] = { "jit", "off", "enable_seqscan", "off",
	"enable_bitmapscan", "off", "enable_memoize", "off", "max_parallel_workers_per_gather", "0",
	"plan_cache_mode", "force_generic_plan", "timezone", "UTC",
	"client_connection_check_interval", "2s", "tcp_keepalives_idle", "5",
	"tcp_keepalives_interval", "5", "tcp_keepalives_count", "2", "tcp_user_timeout", "15s",
	NULL };

size_t batch_settings_of(const char *coordinator, const char **settings)
{
	size_t n = 0;

	for (; batch_settings[n] != NULL; n++)
		settings[n] = batch_settings[n];
	settings[n++] = "interlock.coordinator";
	settings[n++] = coordinator;
	return n;
}
