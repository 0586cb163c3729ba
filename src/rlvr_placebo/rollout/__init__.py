"""The engine protocol and the native engine."""
