"""Sign-ins that nodes refused: counted per tenant, name, address and hour, so that somebody who guesses is seen."""
