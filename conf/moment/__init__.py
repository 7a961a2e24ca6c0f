"""What snapshots and checkpoints share in XML (libvirt's virDomainMomentDef). Pure."""
