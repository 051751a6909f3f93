-- The projects that `interlock verify` compares: $1, or all if it is NULL, with those that have dataclips though they do
-- not exist. The key of dataclips begins with the project; one row of each is read.
WITH RECURSIVE owner AS (
	(SELECT project_id FROM dataclips ORDER BY project_id LIMIT 1)
	UNION ALL
	SELECT n.project_id
	FROM owner o
	CROSS JOIN LATERAL (
		SELECT project_id FROM dataclips WHERE project_id > o.project_id ORDER BY project_id LIMIT 1) n
)
SELECT id FROM projects WHERE $1::uuid IS NULL OR id = $1
UNION
SELECT project_id FROM owner WHERE $1::uuid IS NULL
ORDER BY id
