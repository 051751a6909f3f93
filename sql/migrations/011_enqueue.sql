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

REVOKE EXECUTE ON FUNCTION interlock_enqueue, interlock_make_work_order, interlock_check_json
	FROM PUBLIC;
GRANT EXECUTE ON FUNCTION interlock_enqueue, interlock_make_work_order TO interlock;
DO $$ BEGIN
	EXECUTE 'GRANT EXECUTE ON FUNCTION interlock_enqueue TO '
		|| coalesce(nullif(current_setting('interlock.grantees', true), ''), 'interlock');
END $$;
