"""Models of XML documents and configuration files. Imports nothing of ours."""
