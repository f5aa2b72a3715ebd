#!/bin/bash
# Five databases and five roles that cannot enter each other's; run once, when the server's data folder is made.
# Each password comes from <SERVICE>_DATABASE_PASSWORD, or from the file of that name in /run/secrets.
set -euo pipefail

as_admin() { psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" "$@"; }

create() {
    local name=$1 variable=${1^^}_DATABASE_PASSWORD
    local password=${!variable:-}
    [ -n "$password" ] || password=$(cat "/run/secrets/$variable")
    # The password travels in the environment: command lines are public on a machine.
    name=$name password=$password as_admin --dbname postgres <<'SQL'
\getenv name name
\getenv password password
CREATE ROLE :"name" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT, TEMPORARY ON DATABASE :"name" FROM PUBLIC;
SQL
}

for service in accounts catalog cart orders payments; do create "$service"; done

as_admin --dbname postgres --command 'REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1 FROM PUBLIC'
as_admin --dbname catalog <<'SQL'
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS unaccent;
CREATE EXTENSION IF NOT EXISTS fuzzystrmatch;
SQL
