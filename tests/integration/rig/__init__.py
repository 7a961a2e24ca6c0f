"""The rig: tests that need a real kernel run in a virtual machine and show up as ordinary ones."""
