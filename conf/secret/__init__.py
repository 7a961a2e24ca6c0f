"""Secrets: the model of their documents. Their values are in no document. Pure."""

from conf.secret.secret_xml import Secret, Usage, UsageType, format_secret, parse_secret

__all__ = ["Secret", "Usage", "UsageType", "format_secret", "parse_secret"]
