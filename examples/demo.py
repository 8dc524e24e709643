"""The main job, start to end: place calls, be told how they go, read their records back.

python examples/demo.py            against the simulator: no account, nothing is dialled
python examples/demo.py --live …   against Exotel: says what it would dial, and asks first
"""

import sys

from exotel_async.cli import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
