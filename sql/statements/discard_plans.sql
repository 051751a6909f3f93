-- At the end of a batch, now and then: the next one's statements are planned again, for the tables as they are then.
DISCARD PLANS
