-- The credentials of the project $1, sealed.
SELECT id, name, encode(body, 'hex') AS body FROM credentials WHERE project_id = $1 ORDER BY name, id
