"""logd: writes what guests and their helpers print to files that do not grow without end."""
