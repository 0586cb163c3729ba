"""One small thing per reward, and how they compose."""
