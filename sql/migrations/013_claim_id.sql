-- claim_id: made at the claim, at random, so that no other claim ever has it; NULL while nobody has the run. A
-- failover to a standby that lacks the last commits repeats epochs, and then only the id tells the claims apart.
-- unjoined_claims: the newest 16 of those that were given back before their worker had joined, who is refused then.
-- Whose claim is over otherwise, or is of a history that was lost, may join, to be told that. A build that
-- knows no claim ids would hand out tokens without one, so it is not served any more.
SET LOCAL lock_timeout = '5s';
ALTER TABLE runs
	ADD COLUMN claim_id uuid,
	ADD COLUMN unjoined_claims uuid[],
	DROP COLUMN joined_epochs;
UPDATE schema_migrations SET serves = 13;
