"""The wire protocol: table, codecs, framing, errors. Imports nothing of ours."""
