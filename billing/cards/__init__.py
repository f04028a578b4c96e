"""Payments by card and wallet through Stripe (clause C25): checkouts, events as received, payments, money going back.

checkouts   a page to pay an invoice on, made when the tenant asks for it
events      what Stripe sends: checked, stored once
application events applied, or set aside with a reason (set_aside)
seen        what Stripe says of its objects, read into values
settlement  a payment re-read from Stripe becomes ours, once
returns     refunds and disputes: money going back, and coming back
releases    refunds that finance sends to the card
tending     what is looked at again when no event comes
stand_in    a small Stripe of our own, for the demo and the tests
"""
