"""What is put right after an invoice was issued: voids, credit notes, re-ratings, write-offs."""
