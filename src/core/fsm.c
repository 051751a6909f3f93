/*
 * The state machine of a run. Invariant: a pair of states that no row of fsm_moves names cannot be
 * reached, since every statement's guard is made from the rows.
 */
#include "core/fsm.h"

static const char *const state_names[RUN_STATES] = {
	[RUN_AVAILABLE] = "available",
	[RUN_CLAIMED] = "claimed",
	[RUN_STARTED] = "started",
	[RUN_SUCCESS] = "success",
	[RUN_FAILED] = "failed",
	[RUN_CRASHED] = "crashed",
	[RUN_CANCELLED] = "cancelled",
	[RUN_KILLED] = "killed",
	[RUN_EXCEPTION] = "exception",
	[RUN_LOST] = "lost",
};

static const char *const event_names[RUN_EVENTS] = {
	[EVENT_CLAIM] = "claim",
	[EVENT_RELEASE] = "release",
	[EVENT_REQUEUE] = "requeue",
	[EVENT_RUN_START] = "run:start",
	[EVENT_STEP_START] = "step:start",
	[EVENT_STEP_COMPLETE] = "step:complete",
	[EVENT_RUN_COMPLETE] = "run:complete",
	[EVENT_LOST] = "lost",
	[EVENT_CANCEL] = "cancel",
	[EVENT_REVIVE] = "phx_join",
	[EVENT_LATE_COMPLETE] = "late run:complete",
	[EVENT_ACCEPT] = "accept",
	[EVENT_DISCARD] = "discard",
};

enum {
	AVAILABLE = 1 << RUN_AVAILABLE,
	CLAIMED = 1 << RUN_CLAIMED,
	STARTED = 1 << RUN_STARTED,
	LOST = 1 << RUN_LOST,
	FINISHED = 1 << RUN_SUCCESS | 1 << RUN_FAILED | 1 << RUN_CRASHED | 1 << RUN_CANCELLED |
		   1 << RUN_KILLED | 1 << RUN_EXCEPTION,
};

const struct move fsm_moves[] = {
	{ AVAILABLE, CLAIMED, EVENT_CLAIM, "a worker claims it" },
	{ CLAIMED, AVAILABLE, EVENT_RELEASE, "its worker will not work on it" },
	{ CLAIMED, AVAILABLE, EVENT_REQUEUE, "its worker fell silent before the start" },
	{ CLAIMED, STARTED, EVENT_RUN_START, "its worker started it" },
	{ CLAIMED, STARTED, EVENT_STEP_START, "its first step overtook the start" },
	{ STARTED, STARTED, EVENT_STEP_START, "a step begins" },
	{ CLAIMED, CLAIMED, EVENT_STEP_COMPLETE, "a step ends whose start was lost" },
	{ STARTED, STARTED, EVENT_STEP_COMPLETE, "a step ends" },
	{ CLAIMED | STARTED, FINISHED, EVENT_RUN_COMPLETE, "its worker reports the result" },
	{ CLAIMED | STARTED, LOST, EVENT_LOST, "its deadline or lease expired" },
	{ AVAILABLE, 1 << RUN_CANCELLED, EVENT_CANCEL, "an operator cancels it" },
	{ LOST, CLAIMED | STARTED, EVENT_REVIVE, "its worker joins again in time (policy yield)" },
	{ LOST, FINISHED, EVENT_LATE_COMPLETE, "late completion (policy yield)" },
	{ LOST, FINISHED, EVENT_ACCEPT, "an operator accepts the late result" },
	{ LOST, LOST, EVENT_DISCARD, "an operator discards the late result" },
};
const size_t fsm_nmoves = countof(fsm_moves);

static const struct {
	const char *reason;
	enum run_state state;
} reasons[] = {
	{ "success", RUN_SUCCESS },
	{ "ok", RUN_SUCCESS },
	{ "fail", RUN_FAILED },
	{ "crash", RUN_CRASHED },
	{ "cancel", RUN_CANCELLED },
	{ "kill", RUN_KILLED },
	{ "exception", RUN_EXCEPTION },
};

/* What becomes of a message that is not refused. */
static const char *const outcomes[] = { "accepted", "implicit", "replayed", "yielded", "too_late",
	"observed" };

/* Why a message is refused in a state that does not welcome it. */
static const struct {
	unsigned states;
	const char *code;
} refusals[] = {
	{ AVAILABLE, "not_claimed" },
	{ STARTED, "already_started" },
	{ FINISHED | LOST, "already_final" },
};

const char *fsm_state_of_reason(struct slice reason)
{
	for (size_t i = 0; i < countof(reasons); i++)
		if (slice_is(reason, reasons[i].reason))
			return state_names[reasons[i].state];
	return NULL;
}

void fsm_sql_state_of_reason(struct buf *out)
{
	buf_adds(out, "CASE reason");
	for (size_t i = 0; i < countof(reasons); i++)
		buf_addf(out, " WHEN '%s' THEN '%s'", reasons[i].reason,
			state_names[reasons[i].state]);
	buf_adds(out, " END");
}

/* The states in which an event is welcome, as bits; 0 if there is no such event. */
static unsigned welcome(const char *event)
{
	unsigned states = 0;

	for (size_t i = 0; i < countof(fsm_moves); i++)
		if (strcmp(event_names[fsm_moves[i].by], event) == 0)
			states |= fsm_moves[i].from;
	return states;
}

static void add_states(struct buf *out, unsigned states)
{
	const char *comma = "";

	for (int s = 0; s < RUN_STATES; s++) {
		if (!(states & 1u << s))
			continue;
		buf_addf(out, "%s'%s'", comma, state_names[s]);
		comma = ", ";
	}
}

bool fsm_is_outcome(const char *verdict)
{
	for (size_t i = 0; i < countof(outcomes); i++)
		if (strcmp(outcomes[i], verdict) == 0)
			return true;
	return false;
}

static void add_words(struct buf *out, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_addf(out, "%s'%s'", i > 0 ? ", " : "", words[i]);
}

void fsm_sql_outcomes(struct buf *out)
{
	add_words(out, outcomes, countof(outcomes));
}

void fsm_sql_states(struct buf *out)
{
	add_words(out, state_names, countof(state_names));
}

void fsm_sql_events(struct buf *out)
{
	add_words(out, event_names, countof(event_names));
}

bool fsm_sql_from(const char *event, struct buf *out)
{
	unsigned states = welcome(event);

	add_states(out, states);
	return states != 0;
}

bool fsm_sql_refusal(const char *event, struct buf *out)
{
	unsigned states = welcome(event);

	buf_adds(out, "CASE");
	for (size_t i = 0; i < countof(refusals); i++) {
		unsigned refused = refusals[i].states & ~states;

		if (refused == 0)
			continue;
		buf_adds(out, " WHEN state IN (");
		add_states(out, refused);
		buf_addf(out, ") THEN '%s'", refusals[i].code);
	}
	buf_adds(out, " END");
	return states != 0;
}

/* Where the arrows of a row end: the states that a worker can end a run in are drawn as one. */
enum { DRAWN_FINISHED = RUN_STATES, DRAWN };

static const char *drawn_name(int node)
{
	return node == DRAWN_FINISHED ? "finished" : state_names[node];
}

static bool leads_to(const struct move *m, int node)
{
	bool finishes = (m->to & ~(unsigned)FINISHED) == 0;

	return node == DRAWN_FINISHED ? finishes : !finishes && m->to & 1u << node;
}

static void add_finished(struct buf *out, const char *between)
{
	const char *sep = "";

	for (int s = 0; s < RUN_STATES; s++) {
		if (!(FINISHED & 1u << s))
			continue;
		buf_addf(out, "%s%s", sep, state_names[s]);
		sep = between;
	}
}

void fsm_dot(struct buf *out)
{
	buf_adds(out, "digraph run {\n\trankdir=LR;\n\tnode [shape=box, style=rounded];\n");
	for (size_t i = 0; i < countof(fsm_moves); i++) {
		const struct move *m = &fsm_moves[i];

		for (int from = 0; from < RUN_STATES; from++)
			for (int to = 0; to < DRAWN; to++)
				if (m->from & 1u << from && m->from != m->to && leads_to(m, to))
					buf_addf(out, "\t%s -> %s [label=\"%s\\n%s\"];\n",
						drawn_name(from), drawn_name(to),
						event_names[m->by], m->sentence);
	}
	buf_adds(out, "\tfinished [label=\"");
	add_finished(out, "\\n");
	buf_adds(out, "\", peripheries=2];\n\tlost [peripheries=2];\n}\n");
}

/* All ways from one node to the other as one arrow. */
static void add_arrow(struct buf *out, int from, int to)
{
	const char *sep = "";

	for (size_t i = 0; i < countof(fsm_moves); i++) {
		const struct move *m = &fsm_moves[i];

		if (!(m->from & 1u << from) || m->from == m->to || !leads_to(m, to))
			continue;
		if (*sep == '\0')
			buf_addf(out, "\t%s -->|\"", drawn_name(from));
		buf_addf(out, "%s%s", sep, event_names[m->by]);
		sep = "<br>";
	}
	if (*sep != '\0')
		buf_addf(out, "\"| %s\n", drawn_name(to));
}

void fsm_mermaid(struct buf *out)
{
	buf_adds(out, "flowchart LR\n");
	for (int from = 0; from < RUN_STATES; from++)
		for (int to = 0; to < DRAWN; to++)
			add_arrow(out, from, to);
	buf_adds(out, "\tfinished([\"");
	add_finished(out, "<br>");
	buf_adds(out, "\"])\n\tlost([lost])\n");
}
