/*
 * periodic: a timer for each task (periodic.h).
 */
#include "lib/periodic.h"

static void on_time(uv_timer_t *timer);

static uint64_t interval_of(const struct periodic_task *task)
{
	return (uint64_t)(task->every != NULL ? task->every(task->arg) : task->ms);
}

static void schedule(struct periodic_task *task)
{
	uv_timer_start(&task->timer, on_time, interval_of(task), 0);
}

static void on_time(uv_timer_t *timer)
{
	struct periodic_task *task = container_of(timer, struct periodic_task, timer);

	task->run(task->arg);
	schedule(task);
}

void periodic_start(uv_loop_t *loop, struct periodic_task *tasks, size_t n)
{
	for (struct periodic_task *task = tasks; task < tasks + n; task++) {
		uv_timer_init(loop, &task->timer);
		schedule(task);
	}
}

/* Only shorter waits are restarted, so that no number of reloads can delay a task. */
void periodic_reschedule(struct periodic_task *tasks, size_t n)
{
	for (struct periodic_task *task = tasks; task < tasks + n; task++)
		if (uv_timer_get_due_in(&task->timer) > interval_of(task))
			schedule(task);
}

void periodic_stop(struct periodic_task *tasks, size_t n)
{
	for (struct periodic_task *task = tasks; task < tasks + n; task++)
		uv_close((uv_handle_t *)&task->timer, NULL);
}
