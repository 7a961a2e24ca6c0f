"""<domaincheckpoint>: the model, its XML, how its disks follow those of the domain. Pure."""
