-- Before a batch, now and then: the statements behind it are planned anew, for the tables as they are now.
DISCARD PLANS
