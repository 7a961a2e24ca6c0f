"""Systems of other Debian releases, and the project's tests in them."""
