/*
 * fsm: the state machine of a run, as data. It exists here and nowhere else: the guards of the SQL
 * updates, the refusals, the picture in src/README.md and the test matrix are made from these
 * tables.
 */
#ifndef FSM_H
#define FSM_H

#include "lib/base.h"

enum run_state {
	RUN_AVAILABLE,
	RUN_CLAIMED,
	RUN_STARTED,
	RUN_SUCCESS,
	RUN_FAILED,
	RUN_CRASHED,
	RUN_CANCELLED,
	RUN_KILLED,
	RUN_EXCEPTION,
	RUN_LOST,
	RUN_STATES
};

enum run_event {
	EVENT_CLAIM,
	EVENT_RELEASE,
	EVENT_REQUEUE,
	EVENT_RUN_START,
	EVENT_STEP_START,
	EVENT_STEP_COMPLETE,
	EVENT_RUN_COMPLETE,
	EVENT_LOST,
	EVENT_CANCEL,
	EVENT_REVIVE,
	EVENT_LATE_COMPLETE,
	EVENT_ACCEPT,
	EVENT_DISCARD,
	RUN_EVENTS
};

/* One row of the table of moves: from each state of `from` to each of `to`. A row that leads
 * from a state to itself says that the event is welcome there. from, to: bits 1 << enum run_state.
 */
struct move {
	unsigned from, to;
	enum run_event by;
	const char *sentence; /* for the picture and for people */
};

extern const struct move fsm_moves[];
extern const size_t fsm_nmoves;

/* The state that a run:complete's reason leads to; NULL if it is none that a worker may say. */
const char *fsm_state_of_reason(struct slice reason);

/* Is this what a statement says of a message that it did not refuse? Any other word is the code of
 * a refusal. */
bool fsm_is_outcome(const char *verdict);
/* Appends those words, all states, or the events of all moves, as a list of SQL literals. */
void fsm_sql_outcomes(struct buf *out);
void fsm_sql_states(struct buf *out);
void fsm_sql_events(struct buf *out);

/* Appends an SQL expression over `reason`: the state that it leads to, NULL if none. */
void fsm_sql_state_of_reason(struct buf *out);

/* Appends the states in which the event is welcome as a list of SQL literals. False if there is no
 * such event. */
bool fsm_sql_from(const char *event, struct buf *out) __attribute__((warn_unused_result));

/* Appends an SQL expression over r.state: the code with which the event is refused in that state.
 * False as above. */
bool fsm_sql_refusal(const char *event, struct buf *out) __attribute__((warn_unused_result));

/* Appends the machine as a graphviz digraph; as a mermaid flowchart, for src/README.md. */
void fsm_dot(struct buf *out);
void fsm_mermaid(struct buf *out);

#endif
