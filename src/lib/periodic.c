/*
 * chore: a timer for each row (chore.h).
 */
#include "lib/periodic.h"

static void on_time(uv_timer_t *timer);

static uint64_t wait_of(const struct periodic_task *periodic_task)
{
	return (uint64_t)(periodic_task->every != NULL ? periodic_task->every()
						       : periodic_task->ms);
}

static void set(struct periodic_task *periodic_task)
{
	uv_timer_start(&periodic_task->timer, on_time, wait_of(periodic_task), 0);
}

static void on_time(uv_timer_t *timer)
{
	struct periodic_task *periodic_task = container_of(timer, struct periodic_task, timer);

	periodic_task->run();
	set(periodic_task);
}

void periodic_start(uv_loop_t *loop, struct periodic_task *periodic_tasks, size_t n)
{
	for (struct periodic_task *periodic_task = periodic_tasks;
		periodic_task < periodic_tasks + n; periodic_task++) {
		uv_timer_init(loop, &periodic_task->timer);
		set(periodic_task);
	}
}

/* Only shorter waits are restarted, so that no number of reloads can delay a task. */
void periodic_reschedule(struct periodic_task *periodic_tasks, size_t n)
{
	for (struct periodic_task *periodic_task = periodic_tasks;
		periodic_task < periodic_tasks + n; periodic_task++)
		if (uv_timer_get_due_in(&periodic_task->timer) > wait_of(periodic_task))
			set(periodic_task);
}

void periodic_stop(struct periodic_task *periodic_tasks, size_t n)
{
	for (struct periodic_task *periodic_task = periodic_tasks;
		periodic_task < periodic_tasks + n; periodic_task++)
		uv_close((uv_handle_t *)&periodic_task->timer, NULL);
}
