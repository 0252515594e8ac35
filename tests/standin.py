"""A device that is none: CPU data under another name, to find on any machine what would break on a GPU.

`plug_in()` makes "standin" the accelerator of this process, for good: tests call it in a process of their own. Its two
devices, "standin:0" and "standin:1", compute with the CPU's kernels, each with a random generator of its own, and
refuse what an accelerator refuses, and a little more: no operation takes tensors of two devices, except copies, and
numbers without a dimension. `counts["to host"]` is how often the host had to wait for a result, `counts["to device"]`
how often it sent something.

Made of torch 2.13's hooks for a backend in Python, which are experimental.
"""

from collections import Counter
from contextlib import contextmanager, nullcontext

import torch
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME, DEVICES = "standin", 2
FACTORIES = ("empty.memory_format", "empty_strided")  # all others are made of these and of what changes in place
COPIES = ("_to_copy", "copy_")
CPU = torch.device("cpu")
counts = Counter()
generators = [torch.Generator() for _ in range(DEVICES)]


class Module:
    """What `torch.standin` offers, as torch.cuda does."""

    is_available = is_initialized = staticmethod(lambda: True)
    _is_in_bad_fork = staticmethod(lambda: False)
    device_count = staticmethod(lambda: DEVICES)
    current_device = staticmethod(lambda: 0)
    synchronize = staticmethod(lambda device=None: None)
    get_device_name = staticmethod(lambda device=None: "a device that is none")

    @staticmethod
    def get_rng_state(device=NAME):
        return generators[index_of(device)].get_state()

    @staticmethod
    def set_rng_state(state, device=NAME):
        generators[index_of(device)].set_state(state)

    @staticmethod
    def manual_seed(seed):
        generators[0].manual_seed(seed)  # of the current device only

    @staticmethod
    def manual_seed_all(seed):
        for generator in generators:
            generator.manual_seed(seed)


class Standin(torch.Tensor):
    """A tensor on the stand-in, around `raw`, the tensor on the CPU that holds its numbers."""

    @staticmethod
    def __new__(cls, raw, index=0):
        layout = {"strides": raw.stride(), "storage_offset": raw.storage_offset(), "dtype": raw.dtype}
        made = torch.Tensor._make_wrapper_subclass(cls, raw.shape, device=torch.device(NAME, index), **layout)
        made.raw = raw
        return made

    def __repr__(self):
        return f"Standin({self.raw}, device='{self.device}')"

    def tolist(self):  # torch refuses it to subclasses, and numpy() as it should
        return self.cpu().tolist()

    def __format__(self, form):
        return format(self.item() if self.dim() == 0 else str(self), form)

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        if function._can_decompose():  # in inference mode whole recipes arrive, such as `linear` and `to`
            return function.decompose(*args, **kwargs or {})
        return run(function, args, kwargs or {})


def plug_in():
    """Make the stand-in the accelerator of this process, and return its first device."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=Module)
    torch.__future__.set_swap_module_params_on_conversion(True)  # Module.to keeps its parameters' identity, as on a GPU
    Standin.library = library = torch.library.Library("aten", "IMPL")  # what it registers lasts as long as it does
    for name in FACTORIES:
        packet, _, overload = name.partition(".")
        function = getattr(getattr(torch.ops.aten, packet), overload or "default")
        library.impl(name, lambda *args, function=function, **kwargs: run(function, args, kwargs), "PrivateUse1")
    library.impl("_copy_from", copy_from, "PrivateUse1")
    return torch.device(NAME, 0)


def copy_from(source, target, non_blocking=False):
    """Copy as torch asks a backend to where it is not asked as a tensor's class: `torch.tensor(..., device=...)`."""
    return run(torch.ops.aten.copy_.default, (target, source), {})


def run(function, args, kwargs):
    """Compute one operation on the CPU and hand out its result on the device where it belongs."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    name = function.overloadpacket.__name__
    devices = {tensor.device for tensor in tensors if isinstance(tensor, Standin) or tensor.dim()}
    if len(devices) > 1 and name not in COPIES:
        raise RuntimeError(f"{function}: tensors on two devices, {' and '.join(sorted(map(str, devices)))}")

    origin = next((tensor.device for tensor in tensors if isinstance(tensor, Standin)), CPU)
    target = torch.device(kwargs.get("device") or origin)
    if name == "copy_":
        origin, target = args[1].device, args[0].device
    if origin != CPU and ((target == CPU and name in COPIES) or answers_the_host(function, args)):
        counts["to host"] += 1
    if origin == CPU != target and name in COPIES:
        counts["to device"] += 1

    settings = kwargs | ({"device": CPU} if kwargs.get("device") else {})
    random = torch.Tag.nondeterministic_seeded in function.tags and target != CPU
    with noise_of(target) if random else nullcontext():
        result = function(*tree_map(unwrap, args), **tree_map(unwrap, settings))
    if target == CPU:
        return result
    known = {id(tensor.raw): tensor for tensor in tensors if isinstance(tensor, Standin)}  # changed in place: the same
    for tensor in known.values():
        if tensor.shape != tensor.raw.shape or tensor.stride() != tensor.raw.stride():  # of squeeze_, resize_, out=
            tensor.data = Standin(tensor.raw, tensor.device.index)

    def wrap(value):
        if not isinstance(value, torch.Tensor):
            return value
        return known[id(value)] if id(value) in known else Standin(value, target.index or 0)

    # as everywhere in torch, a view of a tensor from outside inference mode is no inference tensor
    outside = function.is_view and not args[0].is_inference()
    with torch.inference_mode(torch.is_inference_mode_enabled() and not outside):
        return tree_map(wrap, result)


def answers_the_host(function, args):
    """Say whether the host must wait for numbers: for one that it asked for, or for how many there will be."""
    if function.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_):
        return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    return bool({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(function.tags))


@contextmanager
def noise_of(device):
    """Draw from the device's generator where the CPU's kernels would draw from the CPU's."""
    generator, cpu = generators[device.index or 0], torch.get_rng_state()
    torch.set_rng_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(torch.get_rng_state())
        torch.set_rng_state(cpu)


def unwrap(value):
    return value.raw if isinstance(value, Standin) else value


def index_of(device):
    return device if isinstance(device, int) else torch.device(device).index or 0
