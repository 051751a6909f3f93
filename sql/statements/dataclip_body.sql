-- Stores a large body before the message that refers to it, in a transaction without other locks, so that no small
-- message waits for it. Only for the run's present worker, if the run saves dataclips and the step is not another
-- run's; the message decides later whether the body is used. A body that is sent twice is stored once.
INSERT INTO dataclips (project_id, id, type, body, source_id)
SELECT m.project_id, m.clip_id, 'step_result', m.body, coalesce(m.step_id, m.run_id)
FROM {{rows m project_id uuid, run_id uuid, epoch int, claim uuid, step_id uuid, clip_id uuid,
		body text}}
JOIN runs r ON r.project_id = m.project_id AND r.id = m.run_id
WHERE {{same_claim}} AND r.save_dataclips
	AND r.state IN ('claimed', 'started', 'lost')
	AND NOT EXISTS (SELECT FROM steps s
		WHERE s.project_id = m.project_id AND s.id = m.step_id AND s.run_id <> m.run_id)
ON CONFLICT DO NOTHING
