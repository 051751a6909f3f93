/*
 * chore: a timer for each row (chore.h).
 */
#include "chore.h"

static void on_time(uv_timer_t *timer);

static uint64_t wait_of(const struct chore *chore)
{
	return (uint64_t)(chore->every != NULL ? chore->every() : chore->ms);
}

static void set(struct chore *chore)
{
	uv_timer_start(&chore->timer, on_time, wait_of(chore), 0);
}

static void on_time(uv_timer_t *timer)
{
	struct chore *chore = container_of(timer, struct chore, timer);

	chore->run();
	set(chore);
}

void chore_start(uv_loop_t *loop, struct chore *chores, size_t n)
{
	for (struct chore *chore = chores; chore < chores + n; chore++) {
		uv_timer_init(loop, &chore->timer);
		set(chore);
	}
}

/* Only shorter waits begin anew, so that no number of reloads can put a chore off. */
void chore_hurry(struct chore *chores, size_t n)
{
	for (struct chore *chore = chores; chore < chores + n; chore++)
		if (uv_timer_get_due_in(&chore->timer) > wait_of(chore))
			set(chore);
}

void chore_stop(struct chore *chores, size_t n)
{
	for (struct chore *chore = chores; chore < chores + n; chore++)
		uv_close((uv_handle_t *)&chore->timer, NULL);
}
