"""Workers: one process per running domain. These modules are used by every driver's workers."""
