"""A state in a PostgreSQL database. Imported only where a state has a URL: it needs psycopg, of the extra `cluster`."""
