"""Audit records of guests: their starts and ends, and what of the host they use."""
