"""Bank statements: read from a bank's file, matched to tenants, the unclear lines in a queue for a person (C25)."""
