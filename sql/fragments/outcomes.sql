'accepted', 'implicit', 'replayed', 'yielded', 'too_late', 'observed'
