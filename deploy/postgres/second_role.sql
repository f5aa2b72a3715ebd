-- A second way into a service's database, so that a password changes without a moment in which the old one is refused
-- and the new one not yet known: <service>_2 acts as <service>, whatever it makes belongs to <service>. Run again to
-- give it a new password. As the database's administrator:
--   PASSWORD=… psql --dbname catalog --set service=catalog --file deploy/postgres/second_role.sql
\set ON_ERROR_STOP on
\getenv password PASSWORD
\set second :service _2
SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'second') AS is_new \gset
\if :is_new
CREATE ROLE :"second" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE IN ROLE :"service";
\endif
ALTER ROLE :"second" PASSWORD :'password';
ALTER ROLE :"second" SET role TO :'service';
