-- interlock top: recently lost, released and requeued runs, and late messages. $1: how far back, milliseconds.
SELECT to_char(at, 'HH24:MI:SS') AS at, run_id AS run, event, from_state AS "from", to_state AS "to", outcome,
	extract(epoch FROM lateness) AS lateness, worker
FROM transitions
WHERE at > now() - $1::bigint * interval '1 millisecond'
	AND (to_state = 'lost' AND from_state <> 'lost' OR from_state = 'lost' AND outcome <> 'replayed'
		OR outcome IN ('requeued', 'released'))
ORDER BY transitions.at DESC, id DESC
LIMIT 10
