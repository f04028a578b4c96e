"""Whether the ledger and the documents tell the same: run every night, and after every test that moved money."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

LIMIT_FINDINGS = 100

CHECKS = {
    "an event does not sum to zero": """
        SELECT tenant_id, source_id || ' ' || event, sum(amount), 0 FROM posting
        GROUP BY tenant_id, source_id, event HAVING sum(amount) <> 0""",
    "an invoice is owed otherwise than its document says": """
        SELECT tenant_id, subject_id, coalesce(posted, 0), coalesce(documented, 0)
        FROM (SELECT tenant_id, subject_id, sum(amount) AS posted FROM posting WHERE account = 'receivable'
              GROUP BY tenant_id, subject_id) AS ledger
        FULL JOIN (SELECT tenant_id, invoice_id AS subject_id, total - paid AS documented FROM invoice
                   WHERE voided_at IS NULL AND total > 0) AS document USING (tenant_id, subject_id)
        WHERE coalesce(posted, 0) <> coalesce(documented, 0)""",
    "an invoice is paid otherwise than its allocations say": """
        SELECT invoice.tenant_id, invoice.invoice_id, paid, coalesce(sum(amount), 0)
        FROM invoice LEFT JOIN allocation ON allocation.tenant_id = invoice.tenant_id
             AND allocation.invoice_id = invoice.invoice_id AND undone_at IS NULL
        GROUP BY invoice.tenant_id, invoice.invoice_id, paid HAVING paid <> coalesce(sum(amount), 0)""",
    "a source has less than nothing left": """
        SELECT tenant_id, subject_id, -sum(amount), 0 FROM posting WHERE account = 'credit'
        GROUP BY tenant_id, subject_id HAVING sum(amount) > 0""",
    "the lines of an invoice are not its total": """
        SELECT tenant_id, invoice_id, sum(amount), total FROM invoice JOIN invoice_line USING (tenant_id, invoice_id)
        GROUP BY tenant_id, invoice_id, total HAVING sum(amount) <> total""",
    "the tax of an invoice is posted otherwise": """
        SELECT tenant_id, invoice_id, -coalesce(sum(amount), 0), tax
        FROM invoice LEFT JOIN (SELECT tenant_id, source_id AS invoice_id, amount FROM posting
                                WHERE account = 'tax' AND event = 'issued') AS posted USING (tenant_id, invoice_id)
        WHERE voided_at IS NULL
        GROUP BY tenant_id, invoice_id, tax HAVING -coalesce(sum(amount), 0) <> tax""",
    "the deposit held is not what paid invoices asked for, less what was given back": """
        SELECT tenant_id, '', coalesce(posted, 0), coalesce(documented, 0)
        FROM (SELECT tenant_id, -sum(amount) AS posted FROM posting WHERE account = 'deposit_held'
              GROUP BY tenant_id) AS ledger
        FULL JOIN (SELECT posting.tenant_id, -sum(amount) AS documented
                   FROM posting JOIN invoice ON invoice.tenant_id = posting.tenant_id AND invoice_id = source_id
                   WHERE voided_at IS NULL AND event = 'issued'
                         AND (account = 'deposit_held' OR account = 'deposit_due' AND paid >= total)
                   GROUP BY posting.tenant_id) AS document USING (tenant_id)
        WHERE coalesce(posted, 0) <> coalesce(documented, 0)""",
}
"""What may not be, and the query that finds it: tenant, document, what the ledger says, what the documents say."""


async def findings(session: AsyncSession) -> list[str]:
    """Every difference, as `what: tenant document ledger documents`, at most `LIMIT_FINDINGS`; empty when all is well.

    Runs under the platform's scope, over everything there is.
    """
    found: list[str] = []
    for what, query in CHECKS.items():
        rows = await session.execute(text(f"{query} LIMIT {LIMIT_FINDINGS}"))
        found += [f"{what}: {' '.join(str(part) for part in row)}" for row in rows]
    return found[:LIMIT_FINDINGS]
