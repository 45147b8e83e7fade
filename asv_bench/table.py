"""Print one table of what refsgd claims about its speed: each claim is a ratio, taken within this one run.

    python asv_bench/table.py                      some four minutes
    python asv_bench/table.py --quick              half a minute, up to a million parameters
    python asv_bench/table.py --only roof peers    some of the groups

Times are medians over rounds in which all that is compared takes turns, with one thread unless the claim
says so. "<=" stands before the most that our time over the other's may be, ">=" before the least of the
other's over ours; a row without a bar is for information. The twin of a step moves the same memory with
trivial arithmetic: it is the roof. Peers that are not installed are named and skipped:
``pip install -e ".[bench]"`` brings them. On a busy machine the rows for two threads say nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import compiled
import directional_claims
import kernel_claims
import linear_speed
from claims import Claim, print_claims
from peer_claims import peer_claims

import refsgd


def groups(quick: bool) -> dict[str, Iterator[Claim]]:
    """Claims by name of their group, each measured when it is asked for."""
    large = [] if quick else [10_000_000]
    return {
        "roof": kernel_claims.step_and_roof([10_000, 100_000, 1_000_000, *large]),
        "numpy": kernel_claims.step_and_oracle([10_000, 100_000, *([] if quick else [1_000_000]), *large]),
        "peers": peer_claims([1_000, 10_000, 100_000, 1_000_000, *large]),
        "overhead": kernel_claims.overhead(),
        "loop": compiled.claims(),
        "linear": linear_speed.claims(quick),
        "moments": kernel_claims.moments([100_000] if quick else [100_000, 1_000_000]),
        "threads": kernel_claims.two_threads([10_000, 100_000], [1_000_000, *large]),
        "bits": kernel_claims.bits(),
        "import": kernel_claims.imports(5 if quick else 9),
        "directions": directional_claims.directions(quick),
        "scipy": directional_claims.scipy_peer(),
    }


def claims(quick: bool, only: list[str]) -> Iterator[Claim]:
    """All of the table, as it is measured; a line in place of what cannot be measured here."""
    for name, group in groups(quick).items():
        if name in only:
            try:
                yield from group
            except NotImplementedError as reason:
                yield Claim(f"skipped, {reason}: {name}")


def main() -> None:
    names = list(groups(quick=True))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="up to a million parameters")
    parser.add_argument(
        "--only", nargs="+", choices=names, default=names, metavar="GROUP", help=", ".join(names)
    )
    arguments = parser.parse_args()
    refsgd.show_backends()
    print()
    print_claims(claims(arguments.quick, arguments.only))


if __name__ == "__main__":
    main()
