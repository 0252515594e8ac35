"""Check that this machine can run the notebooks.

    python test.py

One line a fact: [OK], [FAIL] with what to do about it, or [--] for what is not there and need not be.
The exit code is 1 if a fact failed. Nothing but Python is needed to start it.
"""

import platform
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
if VENV.exists() and Path(sys.prefix).resolve() != ROOT / ".venv":
    FIX = f"run `{VENV.relative_to(ROOT)} test.py`"
else:
    FIX = "run `make test`, or `python -m pip install -r requirements.txt`"


class Absent(Exception):
    """Something is not there, and that is fine."""


class Wrong(Exception):
    """Something is not as it must be; the message says what to do."""


def python():
    version = platform.python_version()
    if sys.version_info < (3, 11):  # noqa: UP036 (this file is for finding that out)
        raise Wrong(f"{version}, but 3.11 or newer is needed: `make test PYTHON=python3.12`")
    return f"{version} on {platform.system()} {platform.machine()}"


def packages():
    lines = (ROOT / "requirements.txt").read_text().split()
    pins = dict(line.split("==") for line in lines if "==" in line)
    installed = {
        d.metadata["Name"].lower().replace("_", "-"): d.version.split("+")[0] for d in metadata.distributions()
    }
    missing = [name for name in (*pins, "creating-new-numbers") if name not in installed]
    if missing:
        raise Wrong(f"not installed: {', '.join(missing)}; {FIX}")
    others = [f"{name} {installed[name]}" for name, pin in pins.items() if installed[name] != pin]
    if others:
        raise Absent(f"not the versions this was tested with: {', '.join(others)}")
    return f"all {len(pins)} as pinned in requirements.txt"


def torch():
    import torch

    return f"{torch.__version__} with {torch.get_num_threads()} CPU threads"


def device():
    import torch

    from helpers.training import pick_device

    found = pick_device()
    if found.type == "cpu":
        raise Absent("no GPU in use, and none is needed: the CPU will do")
    name = getattr(torch.get_device_module(found), "get_device_name", lambda device: platform.processor())
    return f"{found}, {name(found)}"


def convolution():
    import torch

    from helpers.training import pick_device

    def forward_backward(device, dtype):
        torch.manual_seed(0)
        layer = torch.nn.Conv2d(1, 8, 3).to(device, dtype)
        y = layer(torch.rand(16, 1, 28, 28).to(device, dtype))
        y.square().mean().backward()
        return [t.detach().cpu().double() for t in (y, layer.weight.grad, layer.bias.grad)]

    pairs = zip(forward_backward(pick_device(), torch.float32), forward_backward("cpu", torch.float64))
    error = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
    if not error < 1e-2:  # a GPU's TF32 keeps ten bits: an error of about 1e-3 is sound
        raise Wrong(f"{error:.0e} off the CPU in float64: update the driver, or set DEVICE=cpu")
    return f"forward and backward within {error:.0e} of the CPU in float64"


def data():
    from helpers.data import load_mnist

    return "MNIST verified: " + ", ".join(f"{len(v):,} {k}" for k, v in load_mnist()._asdict().items())


def clothes():
    from helpers.data import FASHION, load_dataset, missing_files

    if missing_files(FASHION):
        raise Absent(f"{FASHION.name} is not here: 09 downloads it, or `apt install {FASHION.package}`")
    load_dataset(FASHION)
    return f"{FASHION.name} verified"


def weights():
    from helpers import checkpoints, models

    paths = sorted(checkpoints.models_dir().glob("*.pt"))
    if not paths:
        raise Absent("no trained weights yet: the notebooks will train, in minutes instead of seconds")
    loaded = []
    for path in paths:
        network = getattr(models, checkpoints.read_recipe(path.stem)["model"], None)
        if network:  # a benchmark defines its own
            checkpoints.load(path.stem, network)
            loaded.append(path.stem)
    return f"{len(paths)} files intact, loaded {', '.join(loaded)}"


def explorer():
    from helpers.explorer import LatentExplorer

    return f"{LatentExplorer.__name__} can be imported"


def main():
    failed = 0
    for fact in (python, packages, torch, device, convolution, data, clothes, weights, explorer):
        try:
            mark, text = "[OK]", fact()
        except Absent as absence:
            mark, text = "[--]", absence
        except Wrong as problem:
            mark, text = "[FAIL]", problem
        except ModuleNotFoundError as error:
            mark, text = "[FAIL]", f"needs {error.name}, which is not installed; {FIX}"
        except Exception as error:  # whatever it is, it belongs on this fact's line
            mark, text = "[FAIL]", f"{type(error).__name__}: {error}"
        failed += mark == "[FAIL]"
        print(f"{mark:<6} {fact.__name__:<12} {' '.join(str(text).split())}", flush=True)
    print(f"{failed} of these need attention" if failed else "This machine is ready: `make lab`")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
