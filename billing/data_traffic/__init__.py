"""Data traffic: a record for each seat and local day, rated and billed in arrears (clause C3)."""
