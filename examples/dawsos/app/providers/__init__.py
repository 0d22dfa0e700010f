"""Stand-ins for Polygon, FMP and FRED: their status endpoints, and the data that a pack is built from."""
