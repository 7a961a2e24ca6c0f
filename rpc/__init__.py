"""The wire protocol: table, codecs, framing, errors. Imports no other package of the project."""
