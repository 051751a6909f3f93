-- What comes from outside is recognised when it comes again, and is JSON. Replaces functions only; no table is
-- locked.

-- The grants of the function that makes way for one with a parameter more.
SELECT set_config('interlock.grantees', string_agg(grantee::regrole::text, ', '), true)
FROM pg_proc, aclexplode(proacl)
WHERE oid = 'interlock_enqueue(uuid,text,text,text,uuid,text,text,text)'::regprocedure AND grantee <> 0;
DROP FUNCTION interlock_enqueue;

-- A dataclip, a work order and a run of the workflow's newest snapshot, with the ids that are given. `input` and
-- `request` are JSON already; `trigger` NULL: the workflow's first runnable trigger. An idempotency key, or a
-- work order, that the trigger had before answers what it made then. A work order of the project that is another
-- trigger's is neither changed nor shown: both ids come back NULL. (Another project's is none of this one's:
-- the key of work_orders begins with the project.)
CREATE FUNCTION interlock_make_work_order(
	workflow uuid,
	input text,
	priority text,
	queue text,
	trigger uuid,
	type text,
	request text,
	idempotency_key text,
	dataclip uuid,
	INOUT work_order_id uuid,
	INOUT run_id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_variable
DECLARE
	w record;
	t record;
	made bigint;
BEGIN
	IF priority NOT IN ('normal', 'immediate') THEN
		RAISE 'priority "%" is neither normal nor immediate', priority USING ERRCODE = '22023';
	END IF;
	SELECT f.project_id, f.id, f.snapshot_id, p.save_dataclips, p.options INTO w
	FROM workflows f JOIN projects p ON p.id = f.project_id
	WHERE f.id = workflow AND f.snapshot_id IS NOT NULL;
	IF NOT FOUND THEN
		RAISE 'no workflow %', workflow USING ERRCODE = 'P0002';
	END IF;
	SELECT g.id INTO t FROM triggers g
	WHERE g.project_id = w.project_id AND g.workflow_id = w.id AND g.runnable
		AND (trigger IS NULL OR g.id = trigger)
	ORDER BY g.enabled DESC, g.id LIMIT 1;
	IF NOT FOUND THEN
		RAISE 'workflow % has no such trigger with an enabled edge', workflow
			USING ERRCODE = 'P0002';
	END IF;

	IF idempotency_key IS NOT NULL THEN
		INSERT INTO idempotency_keys (project_id, trigger_id, key, work_order_id, run_id)
		VALUES (w.project_id, t.id, idempotency_key, work_order_id, run_id)
		ON CONFLICT DO NOTHING;
		IF NOT FOUND THEN
			SELECT k.work_order_id, k.run_id INTO work_order_id, run_id
			FROM idempotency_keys k
			WHERE k.project_id = w.project_id AND k.trigger_id = t.id AND k.key = idempotency_key;
			RETURN;
		END IF;
	END IF;

	WITH ordered AS (
		INSERT INTO work_orders (project_id, id, workflow_id, trigger_id, dataclip_id)
		VALUES (w.project_id, work_order_id, w.id, t.id, dataclip)
		ON CONFLICT DO NOTHING
		RETURNING 1
	), clip AS (
		INSERT INTO dataclips (project_id, id, type, body, request)
		SELECT w.project_id, dataclip, type, input, request FROM ordered
	), run AS (
		INSERT INTO runs (project_id, id, work_order_id, workflow_id, snapshot_id, starting_node_id,
			dataclip_id, queue, priority, save_dataclips, options, run_timeout_ms)
		SELECT w.project_id, run_id, work_order_id, w.id, w.snapshot_id, t.id,
			dataclip, queue, (priority = 'normal')::int, w.save_dataclips, w.options,
			(w.options->>'run_timeout_ms')::int
		FROM ordered
	)
	SELECT count(*) INTO made FROM ordered;
	IF made = 1 THEN
		RETURN;
	END IF;

	SELECT r.id INTO run_id
	FROM work_orders o JOIN runs r ON r.project_id = o.project_id AND r.work_order_id = o.id
	WHERE o.project_id = w.project_id AND o.id = work_order_id AND o.trigger_id = t.id
	ORDER BY r.seq LIMIT 1;
	IF FOUND THEN
		UPDATE idempotency_keys k SET run_id = run_id
		WHERE k.project_id = w.project_id AND k.trigger_id = t.id AND k.key = idempotency_key;
	ELSE
		DELETE FROM idempotency_keys k
		WHERE k.project_id = w.project_id AND k.trigger_id = t.id AND k.key = idempotency_key;
		work_order_id := NULL;
	END IF;
END $$;

-- Raises if the text is not JSON as the worker will read it. The type json, unlike jsonb, takes every escape that
-- is well formed, as the webhook does: \u0000, and half of a surrogate pair.
CREATE FUNCTION interlock_check_json(name text, value text) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF value IS NULL THEN
		RAISE '% is NULL, which is not JSON', name USING ERRCODE = '22032';
	END IF;
	PERFORM value::json;
EXCEPTION
	WHEN SQLSTATE '22032' THEN RAISE;
	WHEN OTHERS THEN RAISE '% is not JSON: %', name, SQLERRM USING ERRCODE = '22032';
END $$;

-- For applications, inside their own transaction, and for the command line. `work_order`: an id for it, made by
-- the caller; the same call with the same id changes nothing and answers the same ids, as does a repeated key.
CREATE FUNCTION interlock_enqueue(
	workflow uuid,
	input text DEFAULT '{}',
	priority text DEFAULT 'normal',
	queue text DEFAULT 'default',
	trigger uuid DEFAULT NULL,
	type text DEFAULT 'saved_input',
	request text DEFAULT NULL,
	idempotency_key text DEFAULT NULL,
	work_order uuid DEFAULT NULL,
	OUT work_order_id uuid,
	OUT run_id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_variable
BEGIN
	PERFORM interlock_check_json('input', input);
	IF request IS NOT NULL THEN
		PERFORM interlock_check_json('request', request);
	END IF;
	SELECT * INTO work_order_id, run_id FROM interlock_make_work_order(workflow, input, priority, queue,
		trigger, type, request, idempotency_key, interlock_uuid(),
		coalesce(work_order, interlock_uuid()), interlock_uuid());
	IF work_order_id IS NULL THEN
		RAISE 'work order % is not of this trigger', work_order USING ERRCODE = '23505';
	END IF;
END $$;

COMMENT ON FUNCTION interlock_enqueue IS
	'Makes a work order with a run; repeated with the same idempotency_key or work_order it answers the first one';

-- Adds a run to the work order of each of these runs, on its workflow's newest snapshot; a row for each, in their
-- order. All work orders are locked before anything is looked at, and in the order in which the coordinators lock
-- them, or the two would wait for each other.
CREATE FUNCTION interlock_retry_all(runs uuid[]) RETURNS TABLE (work_order_id uuid, run_id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_variable
DECLARE
	run uuid;
	r record;
BEGIN
	PERFORM FROM work_orders o
	WHERE (o.project_id, o.id) IN (SELECT x.project_id, x.work_order_id
		FROM projects p JOIN runs x ON x.project_id = p.id AND x.id = ANY (runs))
	ORDER BY o.project_id, o.id
	FOR NO KEY UPDATE;
	FOREACH run IN ARRAY runs LOOP
		SELECT o.*, w.snapshot_id AS newest, d.wiped_at INTO r
		FROM projects p
		JOIN runs o ON o.project_id = p.id AND o.id = run
		JOIN workflows w ON w.project_id = o.project_id AND w.id = o.workflow_id
		LEFT JOIN dataclips d ON d.project_id = o.project_id AND d.id = o.dataclip_id;
		IF NOT FOUND THEN
			RAISE 'no run %', run USING ERRCODE = 'P0002';
		END IF;
		IF r.wiped_at IS NOT NULL THEN
			RAISE 'the input of run % has been wiped', run USING ERRCODE = '55000';
		END IF;
		IF NOT EXISTS (SELECT FROM triggers g WHERE g.project_id = r.project_id
				AND g.workflow_id = r.workflow_id AND g.id = r.starting_node_id AND g.runnable) THEN
			RAISE 'the trigger that run % started at has no enabled edge any more', run
				USING ERRCODE = '55000';
		END IF;
		work_order_id := r.work_order_id;
		run_id := interlock_uuid();
		INSERT INTO runs (project_id, id, work_order_id, workflow_id, snapshot_id, starting_node_id,
			dataclip_id, queue, priority, save_dataclips, options, run_timeout_ms)
		VALUES (r.project_id, run_id, r.work_order_id, r.workflow_id, r.newest, r.starting_node_id,
			r.dataclip_id, r.queue, r.priority, r.save_dataclips, r.options,
			(r.options->>'run_timeout_ms')::int);
		UPDATE work_orders o SET state = 'pending', last_activity = now()
		WHERE o.project_id = r.project_id AND o.id = r.work_order_id AND o.state <> 'running';
		RETURN NEXT;
	END LOOP;
END $$;

COMMENT ON FUNCTION interlock_retry_all IS
	'Adds a run to the work order of each of these runs; for more than one in a transaction';

CREATE OR REPLACE FUNCTION interlock_retry(run uuid, OUT work_order_id uuid, OUT run_id uuid)
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
	SELECT * FROM interlock_retry_all(ARRAY[run])
$$;

COMMENT ON FUNCTION interlock_retry IS
	'Adds a run to the work order of an earlier one; several in a transaction: interlock_retry_all';

REVOKE EXECUTE ON FUNCTION interlock_enqueue, interlock_make_work_order, interlock_check_json, interlock_retry_all
	FROM PUBLIC;
GRANT EXECUTE ON FUNCTION interlock_enqueue, interlock_make_work_order, interlock_retry_all TO interlock;
DO $$ BEGIN
	EXECUTE 'GRANT EXECUTE ON FUNCTION interlock_enqueue TO '
		|| coalesce(nullif(current_setting('interlock.grantees', true), ''), 'interlock');
END $$;
