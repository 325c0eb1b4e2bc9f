"""testwarden: the test agent that is safe to hand to strangers."""

__version__ = "0.1.0"
__date__ = "2026-11-21"
