"""``python -m crossagent_lightning_cli``: works whoever owns ``bin/lightning``."""

from crossagent_lightning_cli import main

if __name__ == "__main__":
    raise SystemExit(main())
