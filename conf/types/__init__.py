"""Types that several XML models share, a module for each; every name is imported from its own.

Readers take the text of an attribute or element and raise ValueError for what it cannot be; the
mapper then names the element and the attribute.
"""
