# The database is the last line of defence: what its own constraints refuse, from any role.

test a run cannot be tied to another project's ${what}
	each what | column
	= input | dataclip_id
	= final dataclip | final_dataclip_id
	do foreign
	sql UPDATE runs SET ${column} = '${foreign}' WHERE id = '${run}' -> "_${column}_fkey"

test a step cannot be tied to another project's output
	do stepping
	do foreign
	sql UPDATE steps SET output_dataclip_id = '${foreign}' WHERE id = '${step}' -> "steps_output_dataclip_id_fkey"

test a run's state and its times agree: ${what}
	each what | set | constraint
	= no such state | state = 'paused', finished_at = now(), finalized_at = now() | runs_state_check
	= started without a time | state = 'started', claimed_at = now() | runs_started_check
	= claimed without a time | state = 'claimed' | runs_claimed_check
	= final without times | state = 'success' | runs_final_check
	= final with one of the times | state = 'success', finished_at = now() | runs_final_check
	= available but finished | finished_at = now(), finalized_at = now() | runs_final_check
	= lost from nowhere | state = 'lost', finished_at = now(), finalized_at = now() | runs_lost_check
	= lost from the end | state = 'lost', lost_from = 'success', finished_at = now(), finalized_at = now() | lost_from_check
	sql UPDATE runs SET ${set} WHERE id = '${run}' -> "${constraint}"

test a run may become final without ever having started, and end before it started
	sql UPDATE runs SET state = 'success', finished_at = now(), finalized_at = now() WHERE id = '${run}'
	sql UPDATE runs SET started_at = now() + interval '1 day' WHERE id = '${run}'

test a step has an exit reason when it has ended, and then only
	do stepping
	sql UPDATE steps SET exit_reason = 'success' WHERE id = '${step}' -> "steps_exit_check"
	sql UPDATE steps SET finished_at = now() WHERE id = '${step}' -> "steps_exit_check"

test a column with a fixed set of values refuses another: ${what}
	each what | set | constraint
	= queue priority | runs SET priority = 2 WHERE id = '${run}' | runs_priority_check
	= type of a trigger | triggers SET type = 'http' WHERE id = '${trigger}' | triggers_type_check
	= version of a workflow | workflows SET lock_version = -1 WHERE id = '${workflow}' | workflows_lock_version_check
	= type of a dataclip | dataclips SET type = 'text' WHERE id = '${dataclip}' | dataclips_type_check
	= state of a work order | work_orders SET state = 'lazy' WHERE project_id = '${project}' | work_orders_state_check
	do stepping
	sql UPDATE ${set} -> "${constraint}"

test a row with a value outside the column's set is not inserted: ${what}
	each what | row | constraint
	= counted event | journal_counts VALUES ('${project}', '${run}', 'claim', 'refused', 'busy', 1, 0, 'claimed') | journal_counts_event_check
	= counted outcome | journal_counts VALUES ('${project}', '${run}', 'run:start', 'revived', '', 1, 0, 'claimed') | journal_counts_outcome_check
	= counted state | journal_counts VALUES ('${project}', '${run}', 'run:start', 'replayed', '', 1, 0, 'paused') | journal_counts_state_check
	= count of zero | journal_counts VALUES ('${project}', '${run}', 'run:start', 'replayed', '', 0, 0, 'claimed') | journal_counts_n_check
	= coordinator without a name | coordinators VALUES ('', 'p', now(), now(), '[]') | coordinators_name_check
	= coordinator without a policy | coordinators VALUES ('${run}', '', now(), now(), '[]') | coordinators_policy_check
	= workers that are not a list | coordinators VALUES ('${run}', 'p', now(), now(), '{}') | coordinators_workers_check
	sql INSERT INTO ${row} -> "${constraint}"

test what the function refuses to enqueue: ${what}
	each what | arguments | sentence
	= an unknown workflow | '${trigger}' | no workflow
	= a trigger of another workflow | '${workflow}', trigger => '${job_a}' | no such trigger with an enabled edge
	= a priority of its own | '${workflow}', priority => 'high' | neither normal nor immediate
	= a queue without a name | '${workflow}', queue => '' | runs_queue_check
	= a queue with too long a name | '${workflow}', queue => '${x*101}' | runs_queue_check
	= a dataclip of no known type | '${workflow}', type => 'text' | dataclips_type_check
	= an empty key | '${workflow}', idempotency_key => '' | idempotency_keys_key_check
	= an input that is not JSON | '${workflow}', 'not json' | input is not JSON: invalid input syntax for type json
	= an empty input | '${workflow}', '' | input is not JSON
	= no input | '${workflow}', NULL | input is NULL, which is not JSON
	= two values | '${workflow}', '{} {}' | input is not JSON
	= a bad escape | '${workflow}', '"\u00g0"' | input is not JSON
	= nested too deeply | '${workflow}', repeat('[', 100000) | input is not JSON: stack depth limit exceeded
	= a request that is not JSON | '${workflow}', request => 'GET /' | request is not JSON
	= a work order of another trigger | '${workflow}', work_order => '${other}' | is not of this trigger
	new other
	sql INSERT INTO work_orders (project_id, id, workflow_id) VALUES ('${project}', '${other}', '${workflow}')
	sql SELECT interlock_enqueue(${arguments}) -> "${sentence}"
	sql> SELECT count(*) FROM runs WHERE project_id = '${project}'
	= 1

test an application's input is taken as the webhook takes it: ${input}
	each input
	= "\u0000"
	= "\ud800"
	= {"a":1,"a":2}
	= 7
	sql SELECT interlock_enqueue('${workflow}', '${input}', type => 'global')
	sql> SELECT body FROM dataclips WHERE project_id = '${project}' AND type = 'global'
	= ${input}

test what is not JSON has a code of its own
	sql DO $$ BEGIN PERFORM interlock_enqueue('${workflow}', 'not json'); EXCEPTION WHEN SQLSTATE '22032' THEN NULL; END $$

test an application's work order is made once
	new mine
	sql> SELECT e.run_id, e.work_order_id FROM interlock_enqueue('${workflow}', '1', work_order => '${mine}') e
	= ${made:=} | ${mine}
	sql> SELECT e.run_id FROM interlock_enqueue('${workflow}', '2', work_order => '${mine}') e
	= ${made}
	sql> SELECT e.run_id FROM interlock_enqueue('${workflow}', '3', work_order => '${mine}', idempotency_key => 'k') e
	= ${made}
	sql> SELECT e.run_id FROM interlock_enqueue('${workflow}', '4', idempotency_key => 'k') e
	= ${made}
	sql> SELECT count(*), count(DISTINCT dataclip_id) FROM runs WHERE project_id = '${project}'
	= 2 | 2

test many runs are tried again in one call
	sql> SELECT count(*), count(DISTINCT run_id) FROM interlock_retry_all(ARRAY['${run}', '${run}']::uuid[])
	= 2 | 2
	sql SELECT interlock_retry_all(ARRAY['${run}', '${job_a}']::uuid[]) -> "no run ${job_a}"

test a run that starts where no edge leads on is refused when it is enqueued
	sql UPDATE triggers SET runnable = false WHERE id = '${trigger}'
	sql SELECT interlock_enqueue('${workflow}') -> "has no such trigger with an enabled edge"
	sql SELECT interlock_retry('${run}') -> "has no enabled edge any more"

test a run whose input was wiped cannot be tried again
	sql UPDATE dataclips SET body = NULL, wiped_at = now() WHERE id = '${dataclip}'
	sql SELECT interlock_retry('${run}') -> "has been wiped"

test every table and column has a comment
	sql> SELECT count(*) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
		AND (obj_description(c.oid, 'pg_class') IS NULL OR col_description(c.oid, a.attnum) IS NULL)
	= 0
