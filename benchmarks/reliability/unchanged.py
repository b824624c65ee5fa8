"""Whether this build fits what another one fits, digit by digit.

Runs the sixty fits of `fits.py` with both builds, each in a process of its own with
one thread, and compares all numbers a fit leaves behind: factors, singular values,
rank, iterations, score, coordinates and predictions of new data.
Prints a line a fit with the largest difference, relative to the largest number of the
array it is found in, and exits with 1 if one exceeds 1e-12, or 1e-8 where `ALLOWED`
names the fit and the change that sums in another order. What only one of the builds
leaves behind cannot be compared: a line in the end names it. Another line counts the
fits whose `stop_reason_` has other words, which is no change. It takes some 15 seconds.

    python benchmarks/reliability/unchanged.py --before HEAD~3
    python benchmarks/reliability/unchanged.py --before ../other-checkout --only entries
"""

from __future__ import annotations

import argparse
import pickle
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from builds import CHECKOUT, check_imported, checkout_of, environment

LIMIT = 1e-12
# What sums in another order may differ by, and in which fits they do: for each the
# change that is behind it. A name is the line that this script prints.
REORDERED = 1e-8
ALLOWED: dict[str, str] = {
    "Factorization holes, errors, CSR: n_components=5, outlier_fraction='auto', "
    "missing_values=0": "gross errors are taken off the coefficients of the step's "
    "polynomial, not off the sums that these are made of",
    "MatrixSensing sensing float32: n_components=4, tol=1e-05": "R^2 of targets in "
    "single precision is computed in double precision",
    "Factorization scarce: n_components=5": "uncertain rows of scarce entries are "
    "solved by a compiled sweep",
}

ATTRIBUTES = (
    "left_",
    "right_",
    "components_",
    "singular_values_",
    "center_",
    "outliers_",
    "explained_variance_ratio_",
    "noise_variance_",
    "factor_scales_",
    "lower_bound_",
    "n_signal_",
    "certificate_.relative_gap",
    "n_components_",
    "n_iter_",
    "converged_",
    "stop_reason_",
    "best_index_",
    "best_score_",
)
# What a difference of these counts relative to; of the others, to the largest number of
# the array before. They are shares: a gap of 1e-20 is all rounding.
UNITS = {"certificate_.relative_gap": 1.0, "best_score_": 1.0, "score": 1.0}

Facts = dict[str, Any]
# Of two fits that are both refused.
NOTHING = (0.0, "error")


# ---- one build


def facts(fit: Any) -> Facts:
    """All that a fit leaves behind, as arrays and text."""
    import fits

    data = fits.DATA[fit.data]()
    model = fit.estimator(random_state=0).set_params(**fit.parameters)
    given = (data.X,) if data.y is None else (data.X, data.y)
    if fit.parameters.get("warm_start"):
        model.set_params(max_iter=3).fit(*given).set_params(max_iter=1000)
    model.fit(*given)
    found = {
        name: value
        for name in ATTRIBUTES
        if (value := attribute(model, name)) is not None
    }
    new = (data.new,) if data.y is None else (data.new, data.new_y)
    found["score"] = model.score(*new)
    found["transform"] = model.transform(data.new)
    if hasattr(model, "predict"):
        found["predict"] = model.predict(data.new)
    found["losses"] = np.asarray(model.history_["loss"])
    return {name: plain(value) for name, value in found.items()}


def attribute(model: Any, path: str) -> Any:
    for name in path.split("."):
        model = getattr(model, name, None)
    return model


def plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    return np.asarray(value.toarray() if hasattr(value, "toarray") else value)


def run(pattern: str, out: Path) -> None:
    """Fit everything with the build that is imported here."""
    import dask
    import fits

    import skprecgd

    warnings.simplefilter("ignore")
    results: dict[str, Facts] = {"": {"from": skprecgd.__file__}}
    with dask.config.set(scheduler="synchronous"):
        for fit in fits.FITS:
            if pattern in fit.name:
                try:
                    results[fit.name] = facts(fit)
                except Exception as error:
                    results[fit.name] = {"error": f"{type(error).__name__}: {error}"}
    out.write_bytes(pickle.dumps(results))


# ---- both


def start(checkout: Path, pattern: str, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, "--worker", str(out), "--only", pattern]
    return subprocess.Popen(command, env=environment(checkout))


def both(before: str, pattern: str) -> list[dict[str, Facts]]:
    """The facts of every fit before and now; the two builds run side by side."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkouts = [checkout_of(before, folder), CHECKOUT]
        outs = [folder / f"{k}.pickle" for k in range(2)]
        workers = [start(c, pattern, o) for c, o in zip(checkouts, outs, strict=True)]
        codes = [worker.wait() for worker in workers]
        if any(codes):
            sys.exit("A build could not run its fits.")
        results = [pickle.loads(out.read_bytes()) for out in outs]
    for checkout, result in zip(checkouts, results, strict=True):
        check_imported(result.pop("")["from"], checkout)
    return results


def difference(name: str, before: Any, now: Any) -> float:
    """The largest difference of two facts, relative to the largest number before."""
    if before.shape != now.shape or before.dtype != now.dtype:
        return np.inf
    if not before.size or np.array_equal(before, now, equal_nan=True):
        return 0.0
    before, now = before.astype(np.float64), now.astype(np.float64)
    unit = UNITS.get(name) or np.nanmax(np.abs(before)) or 1.0
    worst = np.max(np.abs(now - before)) / unit
    return float(worst) if np.isfinite(worst) else np.inf


def compare(before: Facts, now: Facts) -> tuple[float, str]:
    """The largest difference in what both builds know of a fit, and where it is."""
    if ("error" in before) != ("error" in now):
        errors = (side.get("error", "a fit") for side in (before, now))
        return np.inf, " / ".join(errors)
    shared = (k for k in before.keys() & now.keys() if not isinstance(now[k], str))
    return max(((difference(k, before[k], now[k]), k) for k in shared), default=NOTHING)


def in_other_words(before: dict[str, Facts], now: dict[str, Facts]) -> str:
    """How many fits tell the reason of their end otherwise, and the first of them."""
    pairs = [
        (before[name]["stop_reason_"], now[name]["stop_reason_"])
        for name in before
        if "stop_reason_" in before[name] and "stop_reason_" in now[name]
    ]
    changed = [pair for pair in pairs if pair[0] != pair[1]]
    if not changed:
        return ""
    return f"{len(changed)} fits, such as {changed[0][0]!r}, now {changed[0][1]!r}"


def only_in_one(before: dict[str, Facts], now: dict[str, Facts]) -> str:
    """What only one of the builds leaves behind: which one, and after how many fits.

    Of a fit that is an error in one of them nothing is named.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for name in before:
        facts = before[name].keys(), now[name].keys()
        if not any("error" in side for side in facts):
            counts.update((fact, "before") for fact in facts[0] - facts[1])
            counts.update((fact, "now") for fact in facts[1] - facts[0])
    return ", ".join(
        f"{fact} (only {build}, {count} fits)"
        for (fact, build), count in sorted(counts.items())
    )


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--before", help="another checkout, or a revision of this one")
    options.add_argument("--only", default="", help="fits whose line holds this text")
    options.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.worker:
        run(args.only, args.worker)
        return
    if not args.before:
        options.error("--before is needed")
    results = both(args.before, args.only)
    failed = 0
    for name in results[0]:
        worst, where = compare(*(result[name] for result in results))
        limit = REORDERED if name in ALLOWED else LIMIT
        failed += worst > limit
        verdict = "CHANGED" if worst > limit else "refused" if where == "error" else ""
        print(f"{worst:8.1e} {verdict:8}{name}" + (f"   [{where}]" if worst else ""))
    alone = only_in_one(*results)
    if alone:
        print(f"Not compared: {alone}.")
    words = in_other_words(*results)
    if words:
        print(f"In other words: {words}.")
    print(f"{len(results[0])} fits, {failed} changed.")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
