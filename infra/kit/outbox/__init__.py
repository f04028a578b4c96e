"""The outbox of all mail: rooms register kinds and put mails in, one place sends, retries and notes the outcome.

`kinds`: a kind of mail and who writes it. `posting`: put a mail into the outbox, in the transaction of its cause.
`sending`: claim, write, send, note. `words`: from a template and values to subject, text and HTML.
"""
