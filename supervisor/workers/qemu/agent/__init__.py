"""The QEMU guest agent: its protocol, and the commands that workers send it."""
