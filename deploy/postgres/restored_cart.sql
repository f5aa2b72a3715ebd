-- Once, in cart's database when it comes from a backup, before cart starts again: carts count on from far beyond the
-- versions that they had after the backup, under which orders may know orders already. As the administrator:
--   psql --dbname cart --file deploy/postgres/restored_cart.sql
\set ON_ERROR_STOP on
UPDATE carts SET version = version + 1000000;
