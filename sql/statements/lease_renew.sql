-- Somebody was heard of these runs. Goes behind the lock of their work orders, like everything that updates
-- runs. $4: the lease in milliseconds.
WITH m AS (
	SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int[])
	WITH ORDINALITY AS m(project_id, run_id, epoch, ord)
)
UPDATE runs r SET lease_expires_at = now() + $4::bigint * interval '1 millisecond'
FROM m
WHERE r.project_id = m.project_id AND r.id = m.run_id AND r.claim_epoch = m.epoch
	AND r.state IN ({{from lost}})
RETURNING m.ord
