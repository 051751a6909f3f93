/*
 * pulse: one beat of the loop (pulse.h).
 */
#include "pulse.h"

#include "sd.h"

enum { EVERY_MS = 1000 };

int64_t pulse_every(void)
{
	int64_t watchdog = sd_watchdog();

	return watchdog > 0 && watchdog < EVERY_MS ? watchdog : EVERY_MS;
}

void pulse_beat(const struct chan_server *server, const char *not_ready)
{
	char status[400];

	if (sd_watchdog() > 0)
		sd_notify("WATCHDOG=1");
	snprintf(status, sizeof(status), "%s%s: %d workers, %.0f runs, %d messages under way",
		server->draining ? "draining" : "serving",
		not_ready[0] != '\0' && !server->draining ? ", not ready" : "", server->nconns,
		stats_value(stats_series(STATS_CHANNELS, NULL)), server->open_reqs);
	if (not_ready[0] != '\0')
		snprintf(status + strlen(status), sizeof(status) - strlen(status), "; %s",
			not_ready);
	sd_status(status);
	log_tell_suppressed(false);
}
