-- How many runs wait, up to a bound: as many workers as that are notified.
-- columns: n
SELECT count(*) AS n FROM (SELECT FROM waiting LIMIT {{scalar most bigint}}) x
