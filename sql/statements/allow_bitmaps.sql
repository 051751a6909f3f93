-- Allows bitmap scans until the transaction ends (the settings of all connections forbid them): the BRIN index that
-- sweep_close_steps uses cannot be read otherwise.
-- columns: set_config
SELECT set_config('enable_bitmapscan', 'on', true)
