-- What the tutorial's runbook works on: features of web that can be switched off.
CREATE TABLE flag (name text PRIMARY KEY, enabled boolean NOT NULL);
INSERT INTO flag VALUES ('recommendations', TRUE), ('search', TRUE);

-- Diagnosis reads; remediation may change one column, and nothing else.
CREATE ROLE flags_read LOGIN PASSWORD :'read_password';
CREATE ROLE flags_write LOGIN PASSWORD :'write_password';
GRANT SELECT ON flag TO flags_read, flags_write;
GRANT UPDATE (enabled) ON flag TO flags_write;
