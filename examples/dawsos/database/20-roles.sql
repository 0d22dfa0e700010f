-- Who may do what. The platform's own programs use dawsos_app.
CREATE ROLE dawsos_app LOGIN PASSWORD :'app_password';
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO dawsos_app;

-- Diagnosis: reads, sees other sessions' queries, and cannot write: it has no grant to, and its transactions are read-only.
CREATE ROLE dawsos_read LOGIN PASSWORD :'read_password' CONNECTION LIMIT 10;
ALTER ROLE dawsos_read SET default_transaction_read_only = on;
ALTER ROLE dawsos_read SET statement_timeout = '10s';
GRANT SELECT ON ALL TABLES IN SCHEMA public TO dawsos_read;
GRANT pg_read_all_stats TO dawsos_read;

-- Mitigation and remediation: one column of one table, and the markers (30-effects.sql). No DELETE, no TRUNCATE, no DDL,
-- and no pg_signal_backend: ending somebody's session cannot be taken back, nor tried first.
CREATE ROLE dawsos_write LOGIN PASSWORD :'write_password' CONNECTION LIMIT 10;
ALTER ROLE dawsos_write SET statement_timeout = '10s';
ALTER ROLE dawsos_write SET lock_timeout = '5s';
GRANT SELECT, UPDATE (is_fresh) ON pricing_pack TO dawsos_write;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO dawsos_app, dawsos_read, dawsos_write;
