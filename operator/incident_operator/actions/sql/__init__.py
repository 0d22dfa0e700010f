"""What a step does with a PostgreSQL database: sqlQuery reads, sqlExecute changes."""
