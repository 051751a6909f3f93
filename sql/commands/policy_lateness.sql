-- How late the results of lost runs came, in ranges; the last rows are those that came never. Parameters: the
-- milliseconds to look back; a project, or NULL.
WITH {{loss_cases}}
SELECT b.label, count(c.id) AS n
FROM (VALUES (1, 'to 5 s', 0, 5), (2, 'to 15 s', 5, 15), (3, 'to 30 s', 15, 30), (4, 'to 1 min', 30, 60), (5, 'to 2 min', 60, 120),
	(6, 'to 5 min', 120, 300), (7, 'to 15 min', 300, 900), (8, 'to 1 h', 900, 3600), (9, 'later', 3600, NULL), (10, 'never', NULL, NULL))
	AS b(ord, label, lower, upper)
LEFT JOIN (
	SELECT id, extract(epoch FROM completed_at - at) AS late FROM loss_case) c
	ON CASE WHEN b.lower IS NULL THEN c.late IS NULL ELSE c.late > b.lower AND (b.upper IS NULL OR c.late <= b.upper) END
GROUP BY b.ord, b.label
ORDER BY b.ord
