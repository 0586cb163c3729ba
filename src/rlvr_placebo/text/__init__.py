"""Problems, prompts and tokens."""
