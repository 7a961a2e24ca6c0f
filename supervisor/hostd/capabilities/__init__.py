"""The capabilities XML of host, drivers and emulators."""
