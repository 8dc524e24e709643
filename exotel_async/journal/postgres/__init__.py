"""A journal on PostgreSQL, for many machines: threads, connections, transactions tried again."""
