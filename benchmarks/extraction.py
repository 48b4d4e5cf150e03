"""Extraction beside the bare forward pass of the same network; prints one line of JSON.

``python extraction.py speed FOLDER PRECISION IMAGES ROUNDS``, ``dense`` with the same words,
``center FOLDER PRECISION IMAGES``, ``memory FOLDER IMAGES`` and
``network FOLDER DEVICE NETWORK VIEWS PRECISION IMAGES ROUNDS``. FOLDER gets the photographs, the
weights and the stores; what is there already is used again.

Speed: VGG16, ten crops, JPEG files of 500 × 375 pixels to a finished store, against forward passes
on tensors that are there. All are timed by turns, so that a machine that slows down does so for
all. Network: any network of timm's on ``cpu`` or ``cuda``, with seconds of the processor beside
those of the clock; ``tf32`` is a PRECISION of GPUs, where a compiled network is timed too, and a
process that decodes on each core but one.
Memory: the largest sum of the memory that the processes of a run hold for themselves.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fnx.utils.cores import cores

CLASSES, WIDTH, HEIGHT = 4, 500, 375


def photographs(
    folder: Path, count: int, classes: int = CLASSES, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> Path:
    """A folder with `count` JPEG files in some classes, smooth and noisy enough for a real size."""
    root = folder / f"photos-{count}-{classes}"
    made = root / ".made"
    if made.exists():
        return root
    rng = np.random.default_rng(0)
    for number in range(count):
        place = root / f"class{number % classes}"
        place.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), np.int16)
        noisy = np.clip(pixels + rng.integers(-12, 13, pixels.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(place / f"{number:06d}.jpg", quality=88)
    made.touch()
    return root


def weights(folder: Path) -> Path:
    """A file of VGG16's weights: random ones, which cost as much as trained ones."""
    file = folder / "vgg16-random.pth"
    if not file.exists():
        import timm
        import torch

        torch.manual_seed(0)
        net = timm.create_model("vgg16", pretrained=False)
        torch.save(net.state_dict(), file)
    return file


def bare(
    precision: str, views: int, threads: int, network: str = "vgg16", device: str = "cpu"
) -> Callable[[int], float]:
    """Seconds ten views through timm's network alone, `views` in a batch.

    With `threads`, that many batches side by side on a core each, as fnx cuts the work; else one
    batch after the other on all cores, as most people do.
    """
    import timm
    import torch

    dtype = torch.bfloat16 if precision == "bf16-true" else torch.float32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    net = timm.create_model(network, pretrained=False).eval()
    net = net.to(device, dtype, memory_format=torch.channels_last)
    batch = torch.rand(views, 3, 224, 224).to(device, dtype)
    batch = batch.contiguous(memory_format=torch.channels_last)

    def one_thread(_: int) -> None:
        with torch.inference_mode():
            net(batch)

    def run(images: int) -> float:
        passes = range(max(1, images * 10 // views))
        if not threads:
            with torch.inference_mode():
                net(batch)
                wait_for(device)
                start = time.perf_counter()
                for _ in passes:
                    net(batch)
                wait_for(device)
        else:
            with ThreadPoolExecutor(
                threads, initializer=torch.set_num_threads, initargs=(1,)
            ) as pool:
                list(pool.map(one_thread, range(threads)))
                start = time.perf_counter()
                list(pool.map(one_thread, passes))
        return (time.perf_counter() - start) / (len(passes) * views / 10)

    return run


def wait_for(device: str) -> None:
    """Wait for what a GPU has been given."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def words_of(network: str, folder: Path) -> list[str]:
    """The model's words on the command line: random weights, which cost as much as trained ones."""
    if network == "vgg16":
        return ["model=vgg16", f"model.weights.path={weights(folder)}"]
    return ["model=timm", f"model.name={network}", "model.weights.source=random"]


def whole(
    precision: str, folder: Path, *words: str, network: str = "vgg16"
) -> Callable[[int], dict[str, float]]:
    """Seconds an image of ``embed`` on files: all of it, and its predict loop alone.

    Those of the processor, children included, stand beside those of the clock.
    """
    from fnx.config.compose import compose
    from fnx.embedding import ranks
    from fnx.embedding.embed import embed
    from fnx.images.open import open_images

    taken: list[tuple[float, float]] = []
    predict = ranks.predict

    def timed(*arguments: Any) -> None:
        start, busy = time.perf_counter(), processor()
        predict(*arguments)
        taken.append((time.perf_counter() - start, processor() - busy))

    model = words_of(network, folder)

    def run(images: int) -> dict[str, float]:
        cache = folder / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        config = compose(
            [
                "dataset=folder",
                f"dataset.root={photographs(folder, images)}",
                *model,
                f"paths.cache={cache}",
                *(() if any(word.startswith("trainer=") for word in words) else ("trainer=cpu",)),
                f"trainer.precision={precision}",
                *words,
            ]
        )
        ranks.predict = timed
        start, busy = time.perf_counter(), processor()
        listed = open_images(config.dataset, cache)
        checked, busy_checked = time.perf_counter(), processor()
        embed(listed, config)
        end, busy_end = time.perf_counter(), processor()
        ranks.predict = predict
        loop, busy_loop = taken.pop()
        return {
            "all": (end - start) / images,
            "check": (checked - start) / images,
            "loop": loop / images,
            "all, processor": (busy_end - busy) / images,
            "check, processor": (busy_checked - busy) / images,
            "loop, processor": busy_loop / images,
        }

    return run


def processor() -> float:
    """Seconds of the processor that this process and its children that ended have taken."""
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def taps(
    precision: str,
    folder: Path,
    views: str = "ten",
    *,
    network: str = "vgg16",
    device: str = "cpu",
    positions: bool = True,
    compile_with: str | None = None,
) -> Callable[[int], dict[str, float]]:
    """Seconds an image of fnx's passes on pixels in memory: the forward pass, taps and pooling.

    Compiled, the seconds of the first batch of all stand beside them.
    """
    import torch

    from fnx import backbones
    from fnx.backbones.backbone import Backbone
    from fnx.backbones.weights.locate import locate
    from fnx.config.compose import compose
    from fnx.embedding.microbatches import Microbatches, batching
    from fnx.images.crops import Crops

    class ValuesAlone(Backbone):
        def with_positions(self, pixels: Any, located: slice) -> Any:
            rows, none = super().with_positions(pixels, slice(0))
            return rows, none.new_zeros(len(pixels[located]), *none.shape[1:])

    config = compose([*words_of(network, folder), "trainer=cpu"])
    backbone = backbones.build(config.model, locate(config.model, 0), image_size=224, seed=0)
    if not positions:
        backbone.__class__ = ValuesAlone
    backbone = backbone.to(device, torch.bfloat16 if precision == "bf16-true" else torch.float32)
    crops = Crops(views, 256, 256 if views == "dense" else 224)
    cut = batching(backbone, crops, "auto", torch.device(device), torch.get_num_threads())
    shapes = (3, 256, 341)
    pixels = [
        torch.randint(0, 256, shapes, dtype=torch.uint8).to(device) for _ in range(cut.images)
    ]
    compiled = (
        Microbatches(backbone, crops, cut, compile_with=compile_with) if compile_with else None
    )
    first: list[float] = []

    def run(images: int) -> dict[str, float]:
        batches = max(1, images // cut.images)
        used = compiled or Microbatches(backbone, crops, cut)
        with used as embed_batch, torch.inference_mode():
            start = time.perf_counter()
            embed_batch(pixels[:1])
            wait_for(device)
            first.append(time.perf_counter() - start)
            start, busy = time.perf_counter(), processor()
            under_way = embed_batch.start(pixels)  # one batch ahead, as in the extraction
            for _ in range(batches - 1):
                following = embed_batch.start(pixels)
                under_way()
                under_way = following
            under_way()
            wait_for(device)
            seconds, busy = time.perf_counter() - start, processor() - busy
            done = batches * cut.images
            found = {"": seconds / done, "processor": busy / done}
            return {**found, "first batch": first[0]} if compiled else found

    return run


def by_turns(
    arms: dict[str, Callable[[int], Any]], images: dict[str, int], rounds: int, warm: int
) -> dict[str, Any]:
    """Seconds an image of everything, `rounds` times by turns; medians and all figures."""
    found: dict[str, list[float]] = {}
    for number in range(rounds + 1):  # the first is to warm up
        for name, arm in arms.items():
            seconds = arm(images[name] if number else warm)
            parts = seconds if isinstance(seconds, dict) else {"": seconds}
            for part, value in parts.items():
                if number:
                    found.setdefault(f"{name} {part}".strip(), []).append(value)
    return {name: {"median": float(np.median(v)), "all": v} for name, v in found.items()}


def speed(folder: Path, precision: str, images: int, rounds: int) -> dict[str, Any]:
    """Seconds an image of VGG16 and ten crops."""
    arms: dict[str, Callable[[int], Any]] = {
        "bare, 10 views on all cores": bare(precision, 10, 0),
        "bare, 40 views on all cores": bare(precision, 40, 0),
        "bare, 5 views a core": bare(precision, 5, cores()),
        "passes": taps(precision, folder),
        "fnx": whole(precision, folder),
    }
    counts = {name: images if name == "fnx" else max(8, images // 3) for name in arms}
    return by_turns(arms, counts, rounds, warm=4)


def network(
    folder: Path, device: str, name: str, views: str, precision: str, images: int, rounds: int
) -> dict[str, Any]:
    """Seconds an image of any network of timm's: bare, values alone, with positions, from files."""
    from fnx.images.crops import Crops

    count = Crops(views).count
    gpu = device == "cuda"
    trainer = "trainer=gpu" if gpu else "trainer=cpu"

    def per_image(arm: Callable[[int], float]) -> Callable[[int], float]:
        return lambda images: arm(max(1, images * count // 10)) * count / 10

    def files(*words: str) -> Callable[[int], dict[str, float]]:
        return whole(precision, folder, trainer, f"crops={views}", *words, network=name)

    arms: dict[str, Callable[[int], Any]] = {
        "bare": per_image(bare(precision, 256 if gpu else 40, 0, name, device)),
        "values": taps(precision, folder, views, network=name, device=device, positions=False),
        "positions": taps(precision, folder, views, network=name, device=device),
        "fnx": files(),
    }
    if gpu:
        arms["compiled"] = taps(
            precision, folder, views, network=name, device=device, compile_with="inductor"
        )
        arms["fnx, all cores decode"] = files(f"trainer.num_workers={max(1, cores() - 1)}")
    else:
        side_by_side = bare(precision, 4 if count == 1 else 5, cores(), name)
        arms = {"bare, each core": per_image(side_by_side), **arms}
    return by_turns(arms, dict.fromkeys(arms, images), rounds, warm=8)


def dense(folder: Path, precision: str, images: int, rounds: int) -> dict[str, float]:
    """Seconds an image of whole images and of ten crops, by turns; medians."""
    arms = {views: taps(precision, folder, views) for views in ("ten", "dense")}
    found: dict[str, list[float]] = {views: [] for views in arms}
    for _ in range(rounds):
        for views, arm in arms.items():
            found[views].append(arm(images)[""])
    return {views: float(np.median(seconds)) for views, seconds in found.items()}


def memory(folder: Path, images: int) -> dict[str, float]:
    """GiB that ``python -m fnx`` and its workers hold at most; a small network, small images."""
    import psutil

    root = photographs(folder, images)
    words = [
        "dataset=folder",
        f"dataset.root={root}",
        "model=timm",
        "model.name=test_resnet",
        "model.weights.source=random",
        "crops=center",
        "crops.resize=64",
        "crops.size=64",
        "trainer=cpu",
        "logger=none",
        "report=tables",
        f"paths.outputs={folder / f'outputs-{images}'}",
    ]
    command = [sys.executable, "-m", "fnx", *words]
    start = time.perf_counter()
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    process, most = psutil.Process(run.pid), 0
    while run.poll() is None:
        held = 0
        try:
            for member in [process, *process.children(recursive=True)]:
                held += member.memory_info().rss - member.memory_info().shared
        except psutil.Error:  # it ended between two looks
            continue
        most = max(most, held)
        time.sleep(0.1)
    assert run.returncode == 0, run.stderr.read() if run.stderr else ""
    return {"gib": most / 2**30, "seconds": time.perf_counter() - start}


def main() -> None:
    """Measure what the command line asks for."""
    what, folder, *rest = sys.argv[1:]
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    if what == "speed":
        precision, images, rounds = rest
        print(json.dumps(speed(place, precision, int(images), int(rounds))))
    elif what == "dense":
        precision, images, rounds = rest
        print(json.dumps(dense(place, precision, int(images), int(rounds))))
    elif what == "network":
        device, name, views, precision, images, rounds = rest
        found = network(place, device, name, views, precision, int(images), int(rounds))
        print(json.dumps(found))
    elif what == "center":
        precision, images = rest
        run = whole(precision, place, "crops=center")
        run(8)  # to warm up
        print(run(int(images))["loop"])
    else:
        print(json.dumps(memory(place, int(rest[0]))))


if __name__ == "__main__":
    main()
