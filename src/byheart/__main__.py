"""`python -m byheart`, which launchers of several processes need (`accelerate launch -m byheart run ...`)."""

from byheart.cli.main import main

if __name__ == "__main__":
    main()
