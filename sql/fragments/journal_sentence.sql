CASE
		WHEN j.event = 'claim' THEN format('claimed by worker %s', j.worker)
		WHEN j.event = 'cancel' THEN 'cancelled by an operator'
		WHEN j.event = 'release' AND j.code = 'join' THEN 'released: its worker did not join it in time'
		WHEN j.event = 'release' THEN 'released: its worker did not get the claim, or left the run before the start'
		WHEN j.event = 'requeue' THEN format('requeued: its %s had expired before the start', coalesce(j.code, 'lease'))
		WHEN j.event = 'lost' THEN format('declared lost: its %s had expired %s before',
			coalesce(j.code, 'lease or deadline'), interlock_duration(j.lateness))
		WHEN j.event = 'disconnect' THEN format(CASE j.code
			WHEN 'closed_by_worker' THEN '%s closed its socket (%s)'
			WHEN 'closed_by_coordinator' THEN 'the coordinator closed the socket of %s (%s)'
			WHEN 'silent' THEN 'the socket of %s was silent for too long, and was closed'
			ELSE 'the connection of %s broke'
			END, coalesce('worker ' || j.worker, 'its worker'), coalesce('code ' || (interlock_journal_message(j.message)->>'close_code'), 'no code'))
		WHEN j.outcome = 'revived' THEN format('revived: worker %s joined again %s after the loss (policy %s)',
			j.worker, interlock_duration(j.lateness), j.policy)
		WHEN j.event = 'phx_join' THEN coalesce('worker ' || j.worker, 'its worker') || ' joined again'
			|| coalesce(', ' || interlock_duration(j.lateness) || ' after the loss', '')
		WHEN j.event IN ('accept', 'discard') THEN format('the late result was %sed by %s', j.event,
			coalesce(interlock_journal_message(j.message)->>'by', 'an operator'))
		WHEN j.from_state = 'lost' AND j.lateness IS NOT NULL THEN format('%s came %s after the loss: %s', j.event,
			interlock_duration(j.lateness), CASE j.outcome
				WHEN 'yielded' THEN 'applied'
				WHEN 'too_late' THEN 'acknowledged without effect'
				WHEN 'replayed' THEN 'a repetition'
				ELSE 'refused'
				END) || coalesce(' (policy ' || j.policy || ')', '')
		WHEN j.outcome = 'accepted' THEN CASE j.event
			WHEN 'run:start' THEN 'started'
			WHEN 'run:complete' THEN 'completed: ' || j.to_state
			WHEN 'step:start' THEN 'a step started'
			WHEN 'step:complete' THEN 'a step completed'
			ELSE j.event
			END
		WHEN j.outcome = 'implicit' THEN 'a step completed whose start was never reported'
		WHEN j.outcome = 'replayed' THEN j.event || ' was repeated'
		WHEN j.outcome = 'observed' THEN format('%s was applied although it is not valid (%s)', j.event, j.code)
		ELSE format('%s was %s', j.event, j.outcome) || coalesce(' (' || j.code || ')', '')
		END
