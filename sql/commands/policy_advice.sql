-- The lease, the grace and the late window that would have cost least, by the silences and losses of a time. A lease or
-- grace that is too short costs the work of the runs that are lost although their workers live, counted ten times,
-- because their effects may be had twice; one that is too long costs the time for which the slots of dead workers are
-- held. Parameters: the milliseconds to look back; a project, or NULL; the lease and the grace in force, in
-- milliseconds. Candidates are the observed times at each hundredth, rounded up, and what is in force.
WITH {{loss_cases}}, silence AS MATERIALIZED (	-- how long a worker that lives was silent; at what cost if that is a loss
	SELECT extract(epoch FROM active_again_at - renewed_at) AS needs, extract(epoch FROM at - claimed_at) AS work
	FROM loss_case WHERE clock = 'lease' AND active_again_at IS NOT NULL
	UNION ALL
	SELECT extract(epoch FROM length), NULL FROM pause
), mean AS (
	SELECT coalesce(avg(work), 60) AS of_work FROM silence
), dead AS MATERIALIZED (
	SELECT extract(epoch FROM deadline_at - renewed_at) AS most FROM loss_case WHERE active_again_at IS NULL AND renewed_at IS NOT NULL
), overrun AS MATERIALIZED (	-- how long after its time-out a worker that lives reported
	SELECT extract(epoch FROM completed_at - timeout_at) AS needs, extract(epoch FROM at - claimed_at) AS work
	FROM loss_case WHERE clock = 'deadline' AND completed_at IS NOT NULL
), lease_candidate AS (
	SELECT DISTINCT least(greatest(ceil(s / 15) * 15, 75), 86400) AS s
	FROM (SELECT percentile_disc(p / 100.0) WITHIN GROUP (ORDER BY needs) AS s FROM silence, generate_series(0, 100) p GROUP BY p) c
	UNION
	SELECT $3::bigint / 1000.0 WHERE $3 > 0
), lease AS (
	SELECT c.s, (SELECT 10 * coalesce(sum(coalesce(work, of_work)), 0) FROM silence, mean WHERE needs > c.s)
			+ (SELECT coalesce(sum(least(c.s, most)), 0) FROM dead) AS cost
	FROM lease_candidate c
), grace_candidate AS (
	SELECT DISTINCT least(greatest(ceil(s / 5) * 5, 0), 3600) AS s
	FROM (SELECT percentile_disc(p / 100.0) WITHIN GROUP (ORDER BY needs) AS s FROM overrun, generate_series(0, 100) p GROUP BY p) c
	UNION
	SELECT $4::bigint / 1000.0
), grace AS (
	SELECT c.s, (SELECT 10 * coalesce(sum(work), 0) FROM overrun WHERE needs > c.s)
			+ c.s * (SELECT count(*) FROM loss_case WHERE clock = 'deadline' AND active_again_at IS NULL) AS cost
	FROM grace_candidate c
	WHERE c.s >= $4 / 1000.0	-- what a shorter one would cost is not known: runs that were complete in time are not here
)
SELECT (SELECT count(*) FROM loss_case) AS losses,
	(SELECT count(*) FROM silence) AS silences, (SELECT count(*) FROM dead) AS dead,
	(SELECT count(*) FROM overrun) AS overruns,
	(SELECT s FROM lease WHERE (SELECT count(*) FROM silence) > 0 ORDER BY cost, s LIMIT 1)::bigint AS lease_s,
	(SELECT s FROM grace WHERE (SELECT count(*) FROM overrun) > 0 ORDER BY cost, s LIMIT 1)::bigint AS grace_s,
	(SELECT percentile_disc(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM completed_at - at)) FROM loss_case)::bigint AS late_p99_s,
	(SELECT count(completed_at) FROM loss_case) AS late
