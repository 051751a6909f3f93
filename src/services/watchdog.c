/*
 * pulse: one beat of the loop (pulse.h).
 */
#include "services/watchdog.h"

#include "lib/systemd.h"

enum { EVERY_MS = 1000 };

int64_t watchdog_interval(void)
{
	int64_t watchdog = systemd_watchdog_ms();

	return watchdog > 0 && watchdog < EVERY_MS ? watchdog : EVERY_MS;
}

void watchdog_beat(const struct server *server, const char *not_ready)
{
	char status[400];

	if (systemd_watchdog_ms() > 0)
		systemd_notify("WATCHDOG=1");
	snprintf(status, sizeof(status), "%s%s: %d workers, %.0f runs, %d messages under way",
		server->draining ? "draining" : "serving",
		not_ready[0] != '\0' && !server->draining ? ", not ready" : "", server->nsessions,
		metrics_value(metrics_series(METRIC_CHANNELS, NULL)), server->open_requests);
	if (not_ready[0] != '\0')
		snprintf(status + strlen(status), sizeof(status) - strlen(status), "; %s",
			not_ready);
	systemd_status(status);
	log_report_suppressed(false);
}
