"""The QEMU worker: drives one QEMU guest."""
