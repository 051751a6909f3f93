/*
 * watchdog: one beat of the loop (watchdog.h). There is one systemd for the process, so there is
 * nothing to make an instance of.
 */
#include "services/watchdog.h"

#include "lib/metrics.h"
#include "lib/systemd.h"

enum { EVERY_MS = 1000 };

int64_t watchdog_interval(void *arg)
{
	int64_t watchdog = systemd_watchdog_ms();

	(void)arg;
	return watchdog > 0 && watchdog < EVERY_MS ? watchdog : EVERY_MS;
}

void watchdog_beat(const struct watchdog_status *status)
{
	bool not_ready = status->not_ready[0] != '\0';
	char text[400];

	if (systemd_watchdog_ms() > 0)
		systemd_notify("WATCHDOG=1");
	snprintf(text, sizeof(text), "%s%s: %d workers, %.0f runs, %d messages under way%s%s",
		status->draining ? "draining" : "serving",
		not_ready && !status->draining ? ", not ready" : "", status->workers,
		metrics_value(metrics_series(METRIC_CHANNELS, NULL)), status->open_requests,
		not_ready ? "; " : "", status->not_ready);
	systemd_status(text);
	log_report_suppressed(false);
}
