"""Validation of a domain, in one order for define, create and attach.

1. Values: each reader of the model refuses what its attribute cannot be, in `conf.mapper`.
2. Required parts and contradictions: `parsed_domain.check_parsed`, then `parsed_devices`. Runs in
   `parse_domain` and again when a device has been added, before any default is filled in.
3. Machine and controllers, on which the defaults of devices depend: `controllers.check_roots`.
4. Cross checks of the completed domain, in `domain.check_completed`: what QEMU can never run.
5. Capabilities of this emulator: those functions of step 4 that take `EmulatorFacts`.

LXC domains share 1 and 2; their cross checks are `conf.domain.lxc.validate`.
"""
