"""The pool's helper process: all file access of one pool, apart from stord."""
