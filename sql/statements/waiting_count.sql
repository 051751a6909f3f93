-- How many runs wait, up to a limit: that many workers are notified.
-- columns: n
SELECT count(*) AS n FROM (SELECT FROM waiting LIMIT {{scalar most bigint}}) counted
