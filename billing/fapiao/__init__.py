"""Official VAT invoices (fapiao): the buyer's particulars, the export for issuing them outside, their numbers."""
