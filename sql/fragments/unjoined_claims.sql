CASE WHEN r.joined_at IS NULL THEN (r.claim_id || r.unjoined_claims)[1:16] ELSE r.unjoined_claims END
