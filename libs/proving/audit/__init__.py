"""An independent auditor: says from the journal and the venue's own record what the ledger must hold.

It shares no code with what it audits: it imports nothing of `holdfast` and `services`, reads the tables as any reader
would, and has an arithmetic of its own. So a mistake in the product's domain cannot hide in its proof.
"""

from proving.audit.audit import Audit
from proving.audit.report import STATEMENTS, Violation

__all__ = ["STATEMENTS", "Audit", "Violation"]
