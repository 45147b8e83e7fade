"""The command ``refsgd``, or ``python -m refsgd``: demo, fit, predict, reproduce, backends."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import __version__, datasets
from ._config import BACKENDS, show_backends, use_backend
from ._errors import BackendError
from .apps.commands import fit, predict
from .apps.experiments import claims, demo
from .apps.plotting import plot_claim, plot_training

PICTURES = (".png", ".pdf", ".svg")


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def not_negative(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {number}")
    return number


def parser() -> argparse.ArgumentParser:
    main_parser = argparse.ArgumentParser(
        prog="refsgd", description="Stochastic gradient descent without learning rates."
    )
    main_parser.add_argument("--version", action="version", version=f"refsgd {__version__}")
    main_parser.set_defaults(run=lambda options: main_parser.print_help())
    commands = main_parser.add_subparsers(title="commands", metavar="COMMAND")

    demo_parser = commands.add_parser(
        "demo",
        help="train a network on images of digits and show its gradients",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = demo_parser.add_argument
    add("--model", choices=demo.MODELS, default="tanh", help="hidden units, or softmax for a linear model")
    add("--epochs", type=positive, default=20, help="passes over the training data")
    add("--batch-size", type=positive, default=10, metavar="N", help="samples a minibatch")
    add("--seed", type=not_negative, default=0, help="of the start and of the order of samples")
    add("--data", metavar="DIR", help="a folder with MNIST's IDX files instead of the bundled 8x8 digits")
    add("--plot", metavar="FILE", help="write a picture (.png, .pdf, .svg); needs matplotlib")
    add("--backend", choices=BACKENDS, help="kernels to use, else REFSGD_BACKEND, else auto")
    demo_parser.set_defaults(run=run_demo)

    fit.add_arguments(
        commands.add_parser(
            "fit",
            help="learn a linear model from a text file of any size",
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
    )
    predict.add_arguments(
        commands.add_parser(
            "predict",
            help="write what a fitted model says of each row of a text file",
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
    )

    reproduce_parser = commands.add_parser(
        "reproduce",
        help="measure what the papers claim: a verdict, a picture and a JSON file each",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = reproduce_parser.add_argument
    what = ("list", *claims.GROUPS, *claims.NAMES)
    add("what", choices=what, metavar="WHAT", help=f"list, {' or '.join(claims.GROUPS)} (all), or a name")
    add("--quick", action="store_true", help="fewer seeds and steps")
    add("--data", metavar="DIR", help="a folder with MNIST's IDX files, for claims on gradients of images")
    add("--out", metavar="DIR", default="reproduced", help="folder to write to")
    reproduce_parser.set_defaults(run=run_reproduce)

    backends_parser = commands.add_parser("backends", help="which kernels are available, or why not")
    backends_parser.set_defaults(run=lambda options: show_backends())
    return main_parser


def run_demo(options: argparse.Namespace) -> None:
    if options.plot:  # find out before training, not after
        if importlib.util.find_spec("matplotlib") is None:
            raise ValueError('--plot needs matplotlib; pip install "refsgd[plot]", or leave --plot out.')
        if not Path(options.plot).absolute().parent.is_dir():
            raise ValueError(f"--plot must name a file in an existing folder, got {options.plot}; create it.")
        if Path(options.plot).suffix not in PICTURES:
            raise ValueError(
                f"--plot must end in one of {', '.join(PICTURES)}, got {options.plot}; rename it."
            )
    use_backend(options.backend)
    data = datasets.load_mnist(options.data) if options.data else datasets.load_digits()
    model = demo.make_model(options.model, data.X_train.shape[1])
    title = (
        f"VSGD on {data.name}: {options.model}, {model.n_params} parameters, "
        f"{len(data.y_train)} images, minibatches of {options.batch_size}"
    )
    print(f"{title}\nno learning rate, no schedule, nothing tuned\n\n{demo.HEADER}", flush=True)
    began = time.perf_counter()
    history = demo.train(
        data,
        model,
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
        on_epoch=lambda report: print(demo.row(report), flush=True),
    )
    seconds = time.perf_counter() - began
    if not history:
        raise KeyboardInterrupt
    last = history[-1]
    epochs = "1 epoch" if last.epoch == 1 else f"{last.epoch} epochs"
    print(f"\ntest error {100 * last.test_error:.2f} % after {epochs}, {seconds:.1f} s")
    if options.plot:
        plot_training(history, options.plot, title)
        print(f"picture in {options.plot}")


def run_reproduce(options: argparse.Namespace) -> None:
    if options.what == "list":
        for group, names in claims.GROUPS.items():
            print(f"{group}:")
            for name in names:
                print(f"  {name:24s}  {claims.load(name).statement}")
        return
    names = claims.GROUPS.get(options.what, (options.what,))
    data = datasets.load_mnist(options.data) if options.data else None
    if data and not any(claims.load(name).on_images for name in names):
        raise ValueError(f"--data is not for {options.what}, which takes no images; leave it out.")
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    draws = importlib.util.find_spec("matplotlib") is not None
    if not draws:
        print('no pictures: pip install "refsgd[plot]"')
    summary = []
    try:
        for name in names:
            claim = claims.load(name)
            print(f"{claim.statement}\n  {claim.protocol}", flush=True)
            if claim.needs and importlib.util.find_spec(claim.needs) is None:
                print(f'  skipped: {claim.needs} is missing; pip install "refsgd[{claim.needs}]"\n')
                summary.append(f"{name:24s}  skipped: {claim.needs} is missing")
                continue
            record = claims.reproduce(claim, quick=options.quick, data=data)
            (folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            if draws:
                plot_claim(claim, record, folder / f"{name}.png")
            says = "holds" if record["holds"] else "does not hold"
            print(f"  {says}: {record['by']}\n", flush=True)
            summary.append(f"{name:24s}  {says}")
    except KeyboardInterrupt:
        if not summary:
            raise
        summary.append("interrupted")
    print("\n".join([*summary, f"numbers and pictures in {folder}"]))


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, BackendError) as error:
        print(f"refsgd: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nrefsgd: interrupted before the first result", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
