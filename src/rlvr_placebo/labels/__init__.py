"""Labels made by sampling the untrained model, and what they are worth."""
