"""Workers: one process per running guest. What is here serves every driver's workers."""
