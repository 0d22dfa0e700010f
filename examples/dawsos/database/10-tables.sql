-- The tables that RB-01 names.
CREATE TABLE pricing_pack (
  id         text PRIMARY KEY,
  date       date NOT NULL UNIQUE,
  is_fresh   boolean NOT NULL DEFAULT FALSE,
  hash       text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE prices (
  pack_id text NOT NULL REFERENCES pricing_pack ON DELETE CASCADE,
  symbol  text NOT NULL,
  close   numeric NOT NULL,
  PRIMARY KEY (pack_id, symbol)
);

CREATE TABLE fx_rates (
  pack_id text NOT NULL REFERENCES pricing_pack ON DELETE CASCADE,
  pair    text NOT NULL,
  rate    numeric NOT NULL,
  PRIMARY KEY (pack_id, pair)
);

CREATE TABLE symbol_mapping (
  symbol text PRIMARY KEY,
  figi   text NOT NULL,
  source text NOT NULL CHECK (source IN ('polygon', 'fmp'))
);

-- When each day's pack was built, and how long it took: what pack_build_duration_seconds is made of.
CREATE TABLE pack_build (
  date        date PRIMARY KEY,
  started_at  timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz,
  succeeded   boolean
);
