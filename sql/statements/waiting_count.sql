-- How many runs wait, up to $1: as many workers as that are notified.
SELECT count(*) FROM (SELECT FROM waiting LIMIT $1::bigint) x
