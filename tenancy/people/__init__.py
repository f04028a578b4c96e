"""People: invited by mail, signed in with a password or through their company's own identity provider.

`persons`: who there is and in which role. `invitations` and `resets`: one-time links. `passwords`: argon2id and what a
password must be. `throttle`: guesses are counted before they are looked at. `sign_in`: from a password to a session.
`sessions`: kept at the server, named by a cookie. `visits`: an operator enters a tenant with a reason it can read.
"""
