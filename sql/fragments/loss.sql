format(CASE j.clock
			WHEN 'lease' THEN 'Worker %1$s gave no sign of life after %2$s UTC: its lease expired at %3$s UTC.'
			ELSE 'Worker %1$s did not complete the run by its deadline, %3$s UTC; it was last active at %2$s UTC.'
			END, j.worker_name, to_char(j.active_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
			to_char(j.since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'))
