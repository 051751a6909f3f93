(r.claim_epoch, r.claim_id) = (m.epoch, m.claim)
