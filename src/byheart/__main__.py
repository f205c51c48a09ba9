"""Entry point of `python -m byheart`, which multi-process launchers need (`accelerate launch -m byheart run ...`)."""

from byheart.cli.main import main

if __name__ == "__main__":
    main()
