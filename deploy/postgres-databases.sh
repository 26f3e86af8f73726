#!/usr/bin/env bash
# One role and one database per service, from the URLs that the services use: a service reaches its own data only.
set -euo pipefail

for service in users wallet stocks; do
  # postgresql://ROLE:PASSWORD@HOST:PORT/DATABASE
  url=$(<"${SECRETS:-/run/secrets}/${service}_database_url")
  role_and_password=${url#*://}
  role_and_password=${role_and_password%%@*}
  psql --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" \
    --set role="${role_and_password%%:*}" --set password="${role_and_password#*:}" --set database="${url##*/}" <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password';
CREATE DATABASE :"database" OWNER :"role";
REVOKE CONNECT ON DATABASE :"database" FROM PUBLIC;
SQL
done
