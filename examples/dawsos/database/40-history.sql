-- Sample data: twelve securities, and the packs of the five nights before :pricing_date, of which the last is fresh.
INSERT INTO symbol_mapping (symbol, figi, source)
SELECT symbol, 'BBG' || upper(substr(md5(symbol), 1, 9)), CASE WHEN symbol IN ('SPY', 'AGG') THEN 'fmp' ELSE 'polygon' END
FROM unnest('{AAPL,AMZN,BRK.B,GOOGL,JNJ,JPM,MSFT,NVDA,PG,XOM,SPY,AGG}'::text[]) AS symbol;

INSERT INTO pricing_pack (id, date, is_fresh, hash, created_at)
SELECT 'PP-' || day::date, day::date, day::date = :'pricing_date'::date - 1, encode(sha256(day::text::bytea), 'hex'), day
FROM generate_series(:'pricing_date'::date - 5, :'pricing_date'::date - 1, interval '1 day') AS day;

INSERT INTO prices (pack_id, symbol, close)
SELECT id, symbol, 50 + abs(hashtext(symbol || id)) % 20000 / 100.0 FROM pricing_pack, symbol_mapping;

INSERT INTO fx_rates (pack_id, pair, rate)
SELECT id, pair, 1 + abs(hashtext(pair || id)) % 1000 / 10000.0
FROM pricing_pack, unnest('{USD/EUR,USD/GBP,CAD/USD}'::text[]) AS pair;
