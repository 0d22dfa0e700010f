#!/bin/sh
# Starts PostgreSQL in PGDATA, which is made first where it is missing: every /sql/*.sql is run, in order of name, and only
# a database that all of them have filled gets its final name.
set -eu

if [ ! -d "$PGDATA" ]; then
  new="$PGDATA.new"
  rm -rf "$new"
  initdb --pgdata="$new" --username=postgres --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 >/dev/null
  echo "host all all all scram-sha-256" >>"$new/pg_hba.conf"
  pg_ctl --pgdata="$new" --wait --silent --options="-c listen_addresses='' -c unix_socket_directories=/tmp" start
  createdb --host=/tmp --username=postgres dawsos
  for file in /sql/*.sql; do
    psql --host=/tmp --username=postgres --dbname=dawsos --no-psqlrc --quiet --set=ON_ERROR_STOP=1 \
      --set=app_password="$APP_PASSWORD" --set=read_password="$READ_PASSWORD" --set=write_password="$WRITE_PASSWORD" \
      --set=role=dawsos_write --set=pricing_date="${PRICING_DATE:-$(date +%F)}" --file="$file"
  done
  pg_ctl --pgdata="$new" --wait --silent --mode=fast stop
  mv "$new" "$PGDATA"
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp
