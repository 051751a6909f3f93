-- Webhooks that need a key. keys: SHA-256 digests of them, in hexadecimal digits;
-- any of them will do, so that a key is exchanged while webhooks come; without any, no key is needed. The
-- table is small, a default that is a constant rewrites nothing, and who cannot have the lock tries again.
SET LOCAL lock_timeout = '5s';
ALTER TABLE triggers ADD COLUMN keys text[] NOT NULL DEFAULT '{}';
