"""A progress bar for whatever runs its fits through joblib.

rich (the extra ``progress``) is imported when a bar is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from joblib import Parallel

from skprecgd._runtime.extras import import_extra

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(description: str = "fits", *, console: Any = None) -> Iterator[Any]:
    """Show how many fits are done of a search or cross-validation in the block.

    Every outermost call of :class:`joblib.Parallel` gets a bar, so this serves
    `GridSearchCV`, `cross_val_score`, `learning_curve` and all others that fit through
    joblib, with any `n_jobs` and any backend. The list of tasks is made before the
    first one runs, so that their number is known.

    Parameters
    ----------
    description : str, default="fits"
        Text before the bar.
    console : rich.console.Console, default=None
        Where to draw; None is the standard error if that is a terminal, or the
        notebook; elsewhere nothing is drawn.

    Yields
    ------
    rich.progress.Progress
        The object that draws the bars.

    Raises
    ------
    ImportError
        If rich is missing.

    See Also
    --------
    sklearn.callback.ProgressBar : From scikit-learn 1.9 on, nested bars down to the
        iterations, by `set_callbacks` of the search.

    Examples
    --------
    >>> import io
    >>> from rich.console import Console
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skprecgd import PrecGDFactorization
    >>> from skprecgd.datasets import make_low_rank
    >>> from skprecgd.progress import progress_bar
    >>> X = make_low_rank(40, 30, rank=2, random_state=0).matrix
    >>> search = GridSearchCV(PrecGDFactorization(), {"n_components": [1, 2]}, cv=2)
    >>> with progress_bar(console=Console(file=io.StringIO())) as bar:
    ...     search = search.fit(X)
    >>> bar.tasks[0].completed, bar.tasks[0].total
    (4, 4)
    """
    rich = import_extra("rich.progress", "progress_bar", "progress")
    if console is None:
        console = import_extra("rich.console", "progress_bar", "progress").Console(
            stderr=True
        )
        console.quiet = not (console.is_terminal or console.is_jupyter)
    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=console) as bar, _watched(bar, description):
        yield bar


@contextmanager
def _watched(bar: Any, description: str) -> Iterator[None]:
    """Report calls of `Parallel` to the bar.

    Parallel has no other hook: it calls its method `print_progress` after every batch.
    """
    outermost = Lock()
    rows: dict[Parallel, Any] = {}
    run, report = Parallel.__call__, Parallel.print_progress

    def counted_run(parallel: Parallel, iterable: Iterable[Any]) -> Any:
        # A call inside a task is part of that task.
        if not outermost.acquire(blocking=False):
            return run(parallel, iterable)
        try:
            tasks = list(iterable)
            rows[parallel] = bar.add_task(description, total=len(tasks))
            return run(parallel, tasks)
        finally:
            outermost.release()

    def shown_report(parallel: Parallel) -> None:
        if parallel in rows:
            bar.update(rows[parallel], completed=parallel.n_completed_tasks)
        report(parallel)

    Parallel.__call__, Parallel.print_progress = counted_run, shown_report
    try:
        yield
    finally:
        Parallel.__call__, Parallel.print_progress = run, report
