"""Calls that have ended, told to tenants that want to hear of them."""
