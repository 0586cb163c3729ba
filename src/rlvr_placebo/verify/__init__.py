"""Is an answer right? Extraction and equivalence."""
