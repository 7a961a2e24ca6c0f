"""Clients' calls on a running domain, by area; a method has its procedure's name (rpc/*.table)."""
