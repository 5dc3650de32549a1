# No pin of the fabric is used: the core is wired to the processor.
