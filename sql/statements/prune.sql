-- One batch of the pruner, its own transaction: what is due of a project's work orders, at most so many of them. A row
-- for each table: how many of its rows are gone; none if another session prunes.
-- columns: name, n
SELECT name, n
FROM interlock_prune({{scalar project_id uuid}}, {{scalar what text}},
	{{scalar keep_ms bigint}} * interval '1 millisecond', {{scalar most int}})
