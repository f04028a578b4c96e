"""Webhooks: what happens to a tenant is told to the addresses it has given (Standard Webhooks)."""
