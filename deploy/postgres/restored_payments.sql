-- Once, in payments' database when it comes from a backup, before payments starts again: what it tells next of a payment
-- is numbered far beyond what it told after the backup, or orders, which may remember that, would take it for old news.
-- As the administrator:
--   psql --dbname payments --file deploy/postgres/restored_payments.sql
\set ON_ERROR_STOP on
UPDATE payments SET version = version + 1000000;
