-- What there is to delete of the workflow $2 of the project $1, or of all of them (NULL).
SELECT (SELECT count(*) FROM work_orders WHERE project_id = $1 AND ($2::uuid IS NULL OR workflow_id = $2)) AS work_orders,
	(SELECT count(*) FROM in_flight WHERE project_id = $1 AND ($2::uuid IS NULL OR workflow_id = $2)) AS in_flight
