"""A small Stripe of our own: it speaks the real one's HTTP, keeps its state, and sends signed events.

For the demo and the tests, so that both run the real library over real sockets. It knows what Seatline uses: Checkout
Sessions, PaymentIntents, charges, balance transactions, refunds, disputes, idempotency keys and webhooks; what it does
not know it answers as Stripe does, with an error that names it. Nothing outlives the process.

objects     the shapes that it answers with
account     what happens: sessions opened, paid and ended, refunds, disputes
requests    HTTP requests to it, told apart and answered; idempotency keys
deliveries  events sent to the webhook: at once, held, twice, in another order, badly signed
server      its socket, and all of it together
"""
