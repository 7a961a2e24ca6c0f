"""Models of XML and of configuration files. Imports no other package of the project."""
