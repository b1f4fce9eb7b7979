"""TuneLang: write, check, plan and run the fine-tuning of language models."""

__version__ = "0.1.0"
