"""Reminders by mail: whom to remind of what, the outbox, and what became of every mail."""
