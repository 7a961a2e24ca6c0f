"""The bus: typed calls, events and descriptors between processes. Imports nothing of ours."""
