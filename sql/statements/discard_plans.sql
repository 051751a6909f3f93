-- Before a batch, now and then: the statements behind it are planned again, for the tables as they are now.
DISCARD PLANS
