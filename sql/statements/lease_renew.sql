-- There was activity of these runs' workers. Goes behind the lock of their work orders, like everything that updates
-- runs. $5: the lease in milliseconds.
WITH m AS (
	SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::uuid[])
	WITH ORDINALITY AS m(project_id, run_id, epoch, claim, ord)
)
UPDATE runs r SET lease_expires_at = now() + $5::bigint * interval '1 millisecond'
FROM m
WHERE r.project_id = m.project_id AND r.id = m.run_id AND {{same_claim}}
	AND r.state IN ({{from lost}})
RETURNING m.ord
