"""virtvisorctl: the administrator's command."""
