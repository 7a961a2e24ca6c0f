"""Guests' ports: what a card is plugged into, and the device that carries it."""
