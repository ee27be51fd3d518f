"""Make inputs that no one should trust, at random from a seed, each with the reading that it is for."""

import csv
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.ranking import rank
from gwaudit.core.settings import DataSettings
from gwaudit.data.label_files import read_label_file
from gwaudit.data.loading import load_dataset, read_source
from gwaudit.data.summary import summarise
from gwaudit.review.decision_log import DecisionLog
from gwaudit.review.decisions import read_decisions
from gwaudit.review.server import ReviewServer
from gwaudit.store.store import TrajectoryStore
from helpers.audits import make_audit
from helpers.making import png
from helpers.recorded_runs import make_run

Read = Callable[[], object]

N = 24  # rows
KEYS = tuple(f"id-{row:02d}" for row in range(N))
CLASSES = ("cat", "dog", "fish")

TOKENS = (
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1b[31m", b"\r", b"\n", b"\r\n", b'"', b"'", b",", b";", b"\t",
    b"|", b"sep=;\n",
    b"-1", b"1e999", b"nan", b"9" * 30, b"9" * 5000, b"-9223372036854775809", b"0x1f", b"1_000",
    b"\xed\xa0\x80", b"\xe9",
    b"[" * 3000, b'{"a":' * 2000, b"{", b"}", b"[", b"]", b'"label"', b'"x"', b"true", b"null", b"=cmd()", b"../", b"/",
    b"x" * 70000, b"\xf0\x9f\x98\x80", b"[/b]", b"%s%n", b"\x80\x04\x95", b"PK\x03\x04", b"ARROW1", b"PAR1",
    b"\x93NUMPY",
)  # fmt: skip

TEXTS = (
    "", " ", "a", "cat", "dog", "nan", "None", "-1", "0", "1", "1.0", "007", "1e400", "9" * 25, "9" * 5000,
    "\0", "\x1b[2J",
    "\udce9", "é", "e\u0301", "猫", "\u202e", "a\nb", "a,b", 'a"b', "a|b", "[/b]", "[1, 2]", "[0.5]", "../up",
    "/etc/passwd",
    "x" * 5000, "http://a/b.png", "data:image/png;base64,iVBORw0KGgo", "1-Mar", "true", "=1+1", "{}",
    "C:\\a\\b", "con", "a.png",
)  # fmt: skip

NUMBERS = (
    0, 1, 2, -1, 3, 255, 256, 2**31, -(2**31), 2**53, 2**62, -(2**63), 2**63 - 1, 0.0, -0.0, 0.5, 1.5, 1e-300,
    1e300, 1e38, 3.5e38,
    float("nan"), float("inf"), -float("inf"),
)  # fmt: skip


def mutate(content: bytes, random: Random) -> bytes:
    """Return a content with a few random changes: bits, cuts, repeats, and texts that parsers stumble over."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3, 8, 30))):
        at = random.randrange(len(data) + 1)
        end = min(len(data), at + random.choice((1, 2, 4, 8, 40, 400)))
        match random.randrange(7):
            case 0:
                if data:
                    data[at % len(data)] ^= 1 << random.randrange(8)
            case 1:
                data[at:end] = bytes(random.choice((0, 255)) for _ in range(at, end))
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end] * random.choice((1, 2, 50))
            case 4:
                data[at:at] = random.choice(TOKENS)
            case 5:
                data[at:end] = random.choice(TOKENS)[: random.choice((1, 8, 10**6))]
            case 6 if random.random() < 0.3:
                del data[at:]
    return bytes(data)


def value(random: Random, depth: int = 0) -> Any:
    """Return a value as JSON may hold it, of any type."""
    kind = random.randrange(9 if depth < 3 else 6)
    if kind < 2:
        return random.choice(TEXTS)
    if kind < 4:
        return random.choice(NUMBERS)
    if kind < 6:
        return random.choice((None, True, False, "cat", "dog", random.randrange(3), random.random()))
    if kind == 6:
        return {random.choice(TEXTS): value(random, depth + 1) for _ in range(random.randrange(4))}
    return [value(random, depth + 1) for _ in range(random.choice((0, 1, 2, 3)))]


def column(random: Random, n: int) -> list[Any]:
    """Return n values for a column: most often alike, sometimes of all types."""
    kind, few = random.randrange(10), [value(random, 3) for _ in range(2)]
    if kind < 2:
        return [random.choice(CLASSES) for _ in range(n)]
    if kind < 4:
        return [random.choice(NUMBERS) for _ in range(n)]
    if kind == 4:
        return [random.choice(TEXTS) for _ in range(n)]
    if kind == 5:
        return [[random.choice(NUMBERS) for _ in range(random.choice((2, 2, 2, 1, 0)))] for _ in range(n)]
    if kind == 6:
        return [random.choice((None, *few)) for _ in range(n)]
    if kind == 7:
        return [value(random) for _ in range(n)]
    if kind == 8:
        return [random.choice((b"", b"\xff", png(0), png(0)[:40], None)) for _ in range(n)]
    return [random.random() for _ in range(n)]


NAMES = ("label", "x", "y", "image", "img", "text", "embedding", "key", "id", "split", "clean_label", "path",
         "", " ", "Label", "é",
         "huggingface", "[/b]", "x" * 300)  # fmt: skip

TYPES = (pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.string(), pa.large_string(), pa.binary(), pa.bool_(),
         pa.timestamp("ns"), pa.timestamp("s"), pa.date32(), pa.date64(), pa.duration("s"), pa.time64("us"),
         pa.decimal128(30, 3), pa.null(),
         pa.list_(pa.float32()), pa.list_(pa.float32(), 2), pa.large_list(pa.int64()), pa.list_(pa.string()),
         pa.struct({"bytes": pa.binary(), "path": pa.string()}), pa.struct({"bytes": pa.string()}),
         pa.struct({"a": pa.int64()}), pa.dictionary(pa.int8(), pa.string()), pa.map_(pa.string(), pa.int64()),
         pa.binary(4), pa.list_(pa.list_(pa.float32())))  # fmt: skip


def typed_column(random: Random, n: int) -> pa.Array:
    """Return n values of a random Arrow type, by its own bits where it has a fixed width."""
    kind = random.choice(TYPES)
    plain: dict[str, list[Any]] = {
        "string": [text for text in TEXTS if text != "\udce9"],
        "large_string": ["cat", "dog", "", "é"],
        "binary": [b"", b"\xff", b"cat", png(0)],
        "bool": [True, False],
        "null": [None],
        "fixed_size_binary[4]": [b"abcd", b"\xff\xff\xff\xff"],
    }
    if str(kind) in plain:
        values = [random.choice((None, *plain[str(kind)])) for _ in range(n)]
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        item = "cat" if kind.value_type == pa.string() else [0.5] if pa.types.is_list(kind.value_type) else 1
        values = [random.choice(([item, item], [item, item], None)) for _ in range(n)]
    elif pa.types.is_struct(kind):
        values = [random.choice((None, {field.name: None for field in kind})) for _ in range(n)]
        if kind.field(0).name == "bytes" and kind.field(0).type == pa.binary():
            values = [random.choice((None, {"bytes": png(0), "path": random.choice(TEXTS[:9])})) for _ in range(n)]
    elif pa.types.is_dictionary(kind):
        return pa.array([random.choice(("cat", "dog", None)) for _ in range(n)]).dictionary_encode()
    elif pa.types.is_map(kind):
        values = [random.choice((None, [("a", 1)])) for _ in range(n)]
    elif pa.types.is_decimal(kind):
        return pa.array([random.choice((None, 1, 2, -5, 10**20)) for _ in range(n)], kind)
    else:
        width = kind.bit_width // 8
        bits = b"".join(
            random.choice((bytes(width), b"\1" + bytes(width - 1), random.randbytes(width))) for _ in range(n)
        )
        return pa.Array.from_buffers(kind, n, [None, pa.py_buffer(bits)])
    return pa.array(values, kind)


def any_table(random: Random) -> pa.Table:
    """Return a table with columns of any type under names that mean something."""
    n = random.choice((0, 1, 2, N, N, N, N))
    columns: dict[str, Any] = {
        "label": pa.array([CLASSES[row % 3] for row in range(n)]),
        "x": pa.array(np.arange(n) / 7),
    }
    for _ in range(random.randrange(4)):
        columns[random.choice(NAMES)] = typed_column(random, n)
    for name in list(columns):
        if random.random() < 0.15:
            del columns[name]
    table = pa.table(columns)
    if random.random() < 0.2:
        features = (
            {"label": {"names": value(random), "_type": "ClassLabel"}} if random.random() < 0.7 else value(random)
        )
        metadata = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": metadata.encode("utf-8", "surrogatepass")})
    return table


def settings(random: Random, source: Path) -> DataSettings:
    """Return settings of a source, now and then with a column, classes or a separator of one's own."""
    chosen: dict[str, Any] = {"source": str(source), "on_error": random.choice(("skip", "stop"))}
    if random.random() < 0.2:
        setting = random.choice(("label_column", "text_column", "image_column", "feature_columns", "id_column"))
        chosen[setting] = random.choice(("label", "x", "image", "embedding", "key", "x,y"))
    if random.random() < 0.1:
        chosen["label_separator"] = random.choice(("|", ",", " "))
    if random.random() < 0.1:
        chosen["classes"] = random.choice(("cat,dog,fish", "0,1,2", "cat,dog"))
    if random.random() < 0.1:
        chosen["split"] = random.choice(("test", "train", "\x1b[31m"))
    return DataSettings(**chosen)


def reading(random: Random, source: Path) -> Read:
    chosen = settings(random, source)

    def read() -> None:
        dataset = read_source(chosen)
        summarise(dataset, chosen.source).facts()
        _ = dataset.fingerprint

    return read


def csv_files(random: Random, folder: Path) -> Read:
    names = [random.choice(NAMES) for _ in range(random.randrange(1, 5))]
    frame = {"id": KEYS, "label": [CLASSES[row % 3] for row in range(N)], "x": np.arange(N)}
    if random.random() < 0.5:
        frame |= {name: [str(v) for v in column(random, N)] for name in names}
    text = io.StringIO()
    writer = csv.writer(text, delimiter=random.choice(",;\t|"))
    writer.writerow(frame)
    writer.writerows(zip(*frame.values(), strict=True))
    content = text.getvalue().encode(random.choice(("utf-8", "utf-8-sig", "utf-16", "cp1252")), "replace")
    file = folder / random.choice(("a.csv", "a.tsv", "a.CSV"))
    file.write_bytes(mutate(content, random))
    return reading(random, file)


def json_files(random: Random, folder: Path) -> Read:
    rows: Any = [{"label": CLASSES[row % 3], "x": row} for row in range(N)]
    match random.randrange(5):
        case 0:
            rows = [{**row, random.choice(NAMES): value(random)} for row in rows]
        case 1:
            rows = [random.choice((row, value(random))) for row in rows]
        case 2:
            rows = {name: column(random, N) for name in ("label", random.choice(NAMES))}
        case 3:
            rows = random.choice(
                (
                    value(random),
                    {"columns": value(random), "index": value(random), "data": value(random)},
                    {"schema": value(random), "data": value(random)},
                )
            )
    lines = random.random() < 0.4 and isinstance(rows, list)
    text = "\n".join(json.dumps(row, default=repr) for row in rows) if lines else json.dumps(rows, default=repr)
    content = text.encode("utf-8", "surrogatepass")
    file = folder / ("a.jsonl" if lines else "a.json")
    file.write_bytes(mutate(content, random) if random.random() < 0.5 else content)
    return reading(random, file)


_NOT_IN_PARQUET = ("timestamp[s]", "dictionary<values=null, indices=int32, ordered=0>")


def parquet_files(random: Random, folder: Path) -> Read:
    file, content = folder / "a.parquet", io.BytesIO()
    table = any_table(random)
    table = table.select([c.name for c in table.schema if str(c.type) not in _NOT_IN_PARQUET])
    pq.write_table(table, content, compression=random.choice(("none", "zstd", "snappy")))
    file.write_bytes(mutate(content.getvalue(), random) if random.random() < 0.5 else content.getvalue())
    return reading(random, file)


def arrow_files(random: Random, folder: Path) -> Read:
    table, content = any_table(random), io.BytesIO()
    new = random.choice((pa.ipc.new_stream, pa.ipc.new_file))
    options = pa.ipc.IpcWriteOptions(compression=random.choice((None, "lz4", "zstd")))
    with new(content, table.schema, options=options) as writer:
        writer.write_table(table)
    file = folder / random.choice(("a.arrow", "a.feather"))
    file.write_bytes(mutate(content.getvalue(), random) if random.random() < 0.7 else content.getvalue())
    return reading(random, file)


def any_array(random: Random) -> np.ndarray[Any, Any]:
    shape = random.choice(
        ((), (0,), (N,), (N,), (N, 3), (N, 3), (N, 0), (0, 3), (N, 3, 4, 4), (N, 4, 4, 3), (N, 4, 4), (2, N))
    )
    dtype = random.choice(
        ("f8", "f4", "f2", "i8", "u1", "u8", "?", "c8", "M8[s]", "m8[D]", "U3", "S3", ">f4", "f8,i4", "g")
    )
    kind = np.dtype(dtype)
    n = int(np.prod(shape))
    if kind.kind in "US":
        return np.array([random.choice(("cat", "dog", "")) for _ in range(n)], kind).reshape(shape)
    if random.random() < 0.5 and kind.kind in "fiu?":
        return np.array([random.choice((0, 1, 2)) for _ in range(n)]).reshape(shape).astype(kind)
    return np.frombuffer(random.randbytes(n * kind.itemsize), kind).reshape(shape)


def array_files(random: Random, folder: Path) -> Read:
    content = io.BytesIO()
    arrays = {"x": np.random.default_rng(0).random((N, 3)), "y": np.arange(N) % 3}
    for _ in range(random.randrange(3)):
        name = random.choice(("x", "y", "keys", "class_names", "x_train", "y_train", "images", "labels", "other"))
        arrays[name] = any_array(random)
    if random.random() < 0.7:
        file = folder / "a.npz"
        random.choice((np.savez, np.savez_compressed))(content, **arrays)
    else:
        file = folder / "a.npy"
        np.save(content, any_array(random))
    raw = content.getvalue()
    if random.random() < 0.3 and file.suffix == ".npz":  # a damaged array in a sound archive
        content = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(raw)) as before, zipfile.ZipFile(content, "w") as after:
            for name in before.namelist():
                after.writestr(name, mutate(before.read(name), random))
        raw = content.getvalue()
    file.write_bytes(mutate(raw, random) if random.random() < 0.5 else raw)
    return reading(random, file)


def label_files(random: Random, folder: Path) -> Read:
    file = folder / random.choice(("a.npy", "a.csv", "a.csv", "a.pt", "a.txt"))
    content = io.BytesIO()
    if file.suffix == ".npy":
        np.save(content, random.choice((any_array(random), np.arange(N) % 3, np.array(NUMBERS * 2)[:N])))
    elif file.suffix == ".pt":
        labels = random.choice(
            (
                np.arange(N),
                torch.arange(N),
                torch.ones(N, requires_grad=True),
                torch.ones(N, dtype=torch.bfloat16),
                torch.tensor(1),
                list(range(N)),
                value(random),
                torch.ones(N).to_sparse(),
                any_array(random),
            )
        )
        torch.save(random.choice(({"y": labels}, {"y": labels, "clean_label": labels}, labels, {1: labels})), content)
    else:
        rows = [
            ["key", "label", "clean_label"],
            *[[key, random.choice((*CLASSES * 20, *TEXTS)), "cat"] for key in KEYS],
        ]
        text = io.StringIO()
        csv.writer(text).writerows([row[: random.choice((2, 3, 3))] for row in rows])
        content.write(text.getvalue().encode("utf-8", "surrogatepass"))
    raw = content.getvalue()
    file.write_bytes(mutate(raw, random) if random.random() < 0.6 else raw)
    classes, keys = random.choice((CLASSES, (), ("0", "1", "2"))), random.choice((KEYS, None))
    return lambda: read_label_file(file, random.choice((None, "y", "label")), classes, keys)


def shards(random: Random, folder: Path) -> Read:
    content = io.BytesIO()
    usual = random.choice(("txt", "png"))
    with tarfile.open(
        fileobj=content, mode="w", format=random.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))
    ) as archive:
        for row in range(N):
            key = random.choice((*[f"{row:03d}"] * 20, "../up", "/abs", "a" * 120, "é", ".hidden", ""))
            parts = {"cls": b"cat dog".split()[row % 2], usual: png(0) if usual == "png" else b"a text"}
            if random.random() < 0.05:
                parts[random.choice(("json", "cls", "txt", "png"))] = random.choice(
                    (
                        json.dumps({"label": value(random)}, default=repr).encode("utf-8", "replace"),
                        b"",
                        b"[" * 5000,
                        png(0),
                    )
                )
            for suffix, part in parts.items():
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(part)
                if random.random() < 0.02:
                    member.type = random.choice((tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.LNKTYPE))
                archive.addfile(member, io.BytesIO(part))
    file = folder / "a.tar"
    raw = content.getvalue()
    if random.random() < 0.7:
        at = 512 * random.randrange(len(raw) // 512)  # damage to headers is what matters
        raw = raw[:at] + mutate(raw[at : at + 512], random)[:512].ljust(512, b"\0") + raw[at + 512 :]
    file.write_bytes(raw)
    return reading(random, file)


class _Items(torch.utils.data.Dataset[Any]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def torch_datasets(random: Random, folder: Path) -> Read:
    inputs = random.choice(
        (
            torch.rand(N, 3),
            torch.rand(N, 3, 4, 4),
            torch.rand(N, 3, requires_grad=True),
            torch.ones(N, 3, dtype=torch.bfloat16),
        )
    )
    labels = random.choice(
        (torch.arange(N) % 3, torch.rand(N, 3).round(), torch.rand(N, requires_grad=True).round(), list(CLASSES) * 8)
    )
    items: list[Any] = [(inputs[row], labels[row]) for row in range(N)]
    for _ in range(random.randrange(3)):
        strange = random.choice(
            (value(random), any_array(random), torch.tensor(3.0), None, torch.zeros(3).to_sparse(), torch.tensor(1j))
        )
        items[random.randrange(N)] = random.choice(((strange, 1), (inputs[0], strange), strange, ()))
    return lambda: load_dataset(_Items(items), on_error=random.choice(("skip", "stop")))


AUDIT_NAMES = ("cat", "dog", "[/b]")


def _audit(folder: Path) -> Audit:
    return make_audit(KEYS, np.arange(N) % 3, AUDIT_NAMES, suspects=(1, 6), run=folder)


def decision_files(random: Random, folder: Path) -> Read:
    audit = _audit(folder)
    if random.random() < 0.5:
        file = folder / "decisions.csv"
        rows = [["sample_id", "key", "given_name", "decision", "label", "data_fingerprint"]]
        rows += [
            [
                row,
                KEYS[row],
                AUDIT_NAMES[row % 3],
                random.choice((*("keep", "drop", "relabel") * 30, *TEXTS)),
                random.choice((*("", "dog") * 40, *TEXTS)),
                "data-f",
            ]
            for row in range(8)
        ]
        text = io.StringIO()
        csv.writer(text, delimiter=random.choice(",;\t")).writerows(rows)
        content = text.getvalue().encode("utf-8", "surrogatepass")
    else:
        file = folder / "a.json"
        tasks: Any = [
            {
                "id": row,
                "data": {
                    "sample_id": random.choice((row, value(random))),
                    "key": KEYS[row],
                    "given_name": AUDIT_NAMES[row % 3],
                },
                "annotations": [
                    {
                        "result": [
                            {
                                "type": "choices",
                                "from_name": random.choice(("label", "decision", "other")),
                                "value": random.choice(
                                    ({"choices": ["dog"]}, {"choices": value(random)}, value(random))
                                ),
                            }
                        ]
                    }
                ],
            }
            for row in range(8)
        ]
        if random.random() < 0.5:
            tasks = [
                {
                    "sample_id": random.choice((row, value(random))),
                    "key": KEYS[row],
                    "label": random.choice(("dog", value(random))),
                }
                for row in range(8)
            ]
        tasks = random.choice((tasks, tasks, [*tasks, value(random)], value(random)))
        content = json.dumps(tasks, default=repr).encode("utf-8", "surrogatepass")
    file.write_bytes(mutate(content, random) if random.random() < 0.7 else content)

    def read() -> None:
        read_decisions([file], audit)
        if file.suffix == ".csv":
            with DecisionLog(audit):
                pass

    return read


def requests(random: Random, folder: Path) -> Read:
    """Make a request to the review server, as its handler receives it."""
    decision = {"decision": random.choice(("drop", "relabel", value(random)))}
    change = random.choice((None, value(random), {**decision, "label": random.choice((1, True, value(random)))}))
    request = random.choice(
        (
            {"since": random.choice((0, 1, value(random))), "changes": [[random.choice((1, value(random))), change]]},
            {"since": value(random), "changes": value(random)},
            value(random),
        )
    )
    audit = _audit(folder)

    def read() -> None:
        with DecisionLog(audit) as log, ReviewServer(log, b"") as server:
            try:
                server.answer(request)
            except (ValueError, KeyError, TypeError):
                return  # the handler refuses them

    return read


def run_files(random: Random, folder: Path, template: Path | None = None) -> Read:
    """Make a run with damage in one of its files."""
    template = _template(folder.parent) if template is None else template
    run = folder / "run"
    shutil.copytree(template, run, symlinks=True)
    files = [path for path in run.rglob("*") if path.is_file() and not path.is_symlink()]
    chosen = random.choice(files)
    if random.random() < 0.95:  # the others show that a sound run is read
        chosen.write_bytes(_damaged(chosen, random))

    def read() -> None:
        with TrajectoryStore.open(run) as store:
            store.verify()
            rank(store)
        Audit.load(run)

    return read


def _damaged(path: Path, random: Random) -> bytes:
    content = path.read_bytes()
    if path.suffix != ".json" or random.random() < 0.4:
        return mutate(content, random)
    fields = json.loads(content)
    name = random.choice(list(fields))
    if random.random() < 0.3:
        del fields[name]
    else:
        fields[name] = value(random)
    return json.dumps(fields, default=repr).encode("utf-8", "surrogatepass")


def _template(folder: Path) -> Path:
    template = folder / "template"
    if not template.exists():
        from helpers.making import few_digits

        dataset = few_digits(N)
        make_run(template, dataset, epochs=2).close()
        make_audit(
            dataset.keys, dataset.labels, dataset.class_names, run=template, fingerprint=dataset.fingerprint
        ).save(template)
    return template


KINDS: dict[str, Callable[[Random, Path], Read]] = {
    "CSV": csv_files,
    "JSON": json_files,
    "Parquet": parquet_files,
    "Arrow": arrow_files,
    "NumPy arrays": array_files,
    "label files": label_files,
    "tar shards": shards,
    "torch data sets": torch_datasets,
    "decisions": decision_files,
    "review requests": requests,
    "files of a run": run_files,
}
