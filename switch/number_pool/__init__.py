"""The operator's stock of public numbers: imported, assigned, released into quarantine, and what became of each."""
