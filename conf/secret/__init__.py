"""Secrets: the model of <secret>. Values are in no XML. Pure."""

from conf.secret.secret_xml import Secret, Usage, UsageType, format_secret, parse_secret

__all__ = ["Secret", "Usage", "UsageType", "format_secret", "parse_secret"]
