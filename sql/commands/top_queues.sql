-- interlock top: the fullest queues.
SELECT name AS queue, n AS waiting, age AS oldest
FROM sampled
WHERE what = 'queue'
ORDER BY n DESC, age DESC
LIMIT 5
