"""The end (clause C26): a tenant takes its data with it, and what is personal is erased after the retention time."""
