"""Kill an audit whose source and run lie on an S3-compatible server at random times, and resume it.

Half of the trials resume on the same machine, half on another one: with an empty cache, where the killed writer's lease
must run out first. What is at the URL then must equal an unbroken run there, bit for bit. The samples, the epochs and
the results of that run must equal those of a local one. Its other files name the source.
"""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from helpers.object_server import ObjectServer, remove_all

from .commands import Case, gwaudit
from .contents import contents, differences
from .forked import Forked, copy_of, last_lines, run
from .kills import WHOLE
from .trials import Outcome, Part, Trial, failure
from .workplace import Workplace

KILLS = 50
BUCKET = "s3://bucket"
TRAIN = ("--epochs", "2", "--model", "resnet9_16", "--device", "cpu", "--dtype", "float32", "--force")
LEASE, RENEWAL = 1.0, 0.2  # seconds; the defaults are 30 and 8
SAME = ("samples/", "epochs/", "CURRENT/audit.parquet", "CURRENT/suspects.csv", "CURRENT/cleaned/")
"""What does not name the source, nor the id of the run, which follows from the source."""


def audit_at(source: str, output: str, cache: str, *options: str) -> Callable[[], None]:
    """Return an action that audits the pictures with a cache of its own."""

    def action() -> None:
        from gwaudit.core import leases

        leases.LEASE, leases.RENEWAL = LEASE, RENEWAL
        os.environ["GWAUDIT_CACHE"] = str(Path(cache).absolute())
        gwaudit("audit", source, "--output", output, *TRAIN, *options)()

    return action


there = partial(audit_at, f"{BUCKET}/pictures", f"{BUCKET}/run")


def _start_server(workplace: Workplace) -> ObjectServer:
    """Start the server in this process, which outlives the commands that are killed."""
    import s3fs

    server = ObjectServer()
    os.environ |= server.environment
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("bucket")
    return server


def _begin(workplace: Workplace) -> Path:
    """Empty the bucket but for the pictures; return an empty folder to work in."""
    import s3fs

    workplace.once("object server", lambda: _start_server(workplace))
    remove_all()
    pictures = workplace.starts["data"] / "pictures"
    s3fs.S3FileSystem().put(str(pictures), "bucket/", recursive=True)
    folder = workplace.starts["data"].parent / "objects"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _contents_of_bucket(folder: Path) -> dict[str, str]:
    """Return the contents of the run at the URL, and check that all that is committed is whole."""
    import s3fs

    from gwaudit.store.results import require_intact, results_of
    from gwaudit.store.store import TrajectoryStore

    fetched = folder / "fetched" / "run"
    s3fs.S3FileSystem(use_listings_cache=False).get("bucket/run", str(fetched), recursive=True)
    shutil.rmtree(fetched / "leases")
    TrajectoryStore.open(fetched).verify()
    require_intact(results_of(fetched))
    return contents(folder / "fetched")


def _unbroken(workplace: Workplace) -> tuple[dict[str, str], float]:
    """Return what an unbroken audit leaves at the URL, and its duration in seconds.

    Raises:
        AssertionError: It is not what a local one leaves.
    """
    folder = _begin(workplace)
    copy_of(workplace.starts["data"] / "pictures", str(folder / "pictures"))
    local = run(audit_at("pictures", "run", "cache"), folder)
    assert local.code == 0, last_lines(local, 20)
    here = contents(folder)
    began = time.monotonic()
    done = run(there("there"), folder)
    seconds = time.monotonic() - began
    assert done.code == 0, last_lines(done, 20)
    found = _contents_of_bucket(folder)
    same = [
        {k: v for k, v in files.items() if k.startswith(tuple(f"run/{p}" for p in SAME))} for files in (here, found)
    ]
    assert len(same[0]) > len(SAME), sorted(here)
    assert not (wrong := differences(*same)), f"the run at the URL is not the local one: {', '.join(wrong[:6])}"
    return found, seconds


def trials(workplace: Workplace, cases: Sequence[Case]) -> list[Trial]:
    return [Trial("urls", "audit at a URL", number=number) for number in range(KILLS)]


def at_random_time(workplace: Workplace, trial: Trial) -> Outcome:
    """Kill the audit at a random time, and resume it here or elsewhere."""
    expected, seconds = workplace.once("unbroken at a URL", lambda: _unbroken(workplace))
    folder = _begin(workplace)
    process = Forked(there("there"), folder)
    time.sleep(trial.draw(workplace.seed).uniform(0, seconds * 1.05))
    process.kill()
    process.wait()
    done = run(there("elsewhere" if trial.number % 2 else "there", "--resume"), folder)
    if done.code != 0:
        return failure(last_lines(done))
    if wrong := differences(expected, _contents_of_bucket(folder)):
        return failure(f"the objects differ: {', '.join(wrong[:6])}")
    return Outcome(WHOLE)


PARTS = {
    "urls": Part("kill of an audit at a URL, at a random time", trials, at_random_time, lambda trial: trial.number < 2)
}
