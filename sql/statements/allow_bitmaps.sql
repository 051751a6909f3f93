-- Until the transaction ends bitmaps are allowed, which the settings of all connections forbid: the BRIN index that
-- sweep_steps looks into cannot be read otherwise.
-- columns: set_config
SELECT set_config('enable_bitmapscan', 'on', true)
