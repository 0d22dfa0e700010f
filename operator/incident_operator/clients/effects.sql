-- Lets sqlExecute steps leave a mark in this database, so that each takes effect exactly once.
-- Run it once for each role that such steps use, as the owner of the database:
--   psql --dbname=prod --set=role=dawsos_write --file=effects.sql
-- The role needs, beside this, only what its statements need: never TRUNCATE, DDL or ownership of a table.
CREATE SCHEMA IF NOT EXISTS incident_operator;
CREATE TABLE IF NOT EXISTS incident_operator.incident_operator_effects (
  step_key text PRIMARY KEY,
  incident text NOT NULL,
  step text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now(),
  rows_changed bigint,
  before jsonb,
  "returning" jsonb
);
GRANT USAGE ON SCHEMA incident_operator TO :"role";
GRANT SELECT, INSERT (step_key, incident, step), UPDATE (rows_changed, before, "returning")
  ON incident_operator.incident_operator_effects TO :"role";
