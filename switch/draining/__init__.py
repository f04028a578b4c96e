"""Taking a node out of service without cutting anybody off before the deadline, and giving it back."""
