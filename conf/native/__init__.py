"""Foreign configurations read into domain XML (domxml-from-native)."""
