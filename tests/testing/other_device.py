"""A simulated device other than the CPU: it rejects operations on tensors of different devices, as a GPU does.

Its numbers are in the CPU's memory. Operations on tensors of both devices fail, except copies, single numbers, and positions
of an index; so do conversions to arrays, and operations that no GPU has. It is not fast, and has no bfloat16.
"""

import torch
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "elsewhere"
MOVES = {"copy_", "_to_copy", "_copy_from"}
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
CPU = torch.device("cpu")


class There(torch.Tensor):
    """A tensor on the device; `numbers` are on the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, numbers):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            numbers.shape,
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=torch.device(NAME, 0),
        )
        made.numbers = numbers
        return made

    def __init__(self, numbers):
        pass

    def __repr__(self):
        return f"There({self.numbers})"

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = There(self.numbers.clone()).requires_grad_(self.requires_grad)
            memo[id(self)]._is_param = getattr(self, "_is_param", False)
        return memo[id(self)]

    @property
    def data(self):
        return There(self.numbers)

    @data.setter
    def data(self, other):
        assert isinstance(other, There)
        assert (other.dtype, other.shape) == (self.dtype, self.shape)
        self.numbers = other.numbers

    def data_ptr(self):
        return self.numbers.data_ptr()

    def storage(self):
        return self.numbers.storage()

    def untyped_storage(self):
        return self.numbers.untyped_storage()

    def tolist(self):
        return self.numbers.tolist()

    def numpy(self, *_, **__):
        raise TypeError(f"can't convert {NAME} tensor to numpy; copy it to the CPU first")

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return operation(func, args, dict(kwargs or {}))


def operation(func, args, kwargs):
    """Run an operation on the numbers of its tensors; the result is on their device, or on the requested one."""
    name = func.overloadpacket.__name__
    if name in INDEXED and isinstance(args[0], There):
        reported = [x if x is None or isinstance(x, There) else There(x) for x in args[1]]
        args = (args[0], reported, *args[2:])
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    owners = {id(x.numbers): x for x in tensors if isinstance(x, There)}
    if owners and name not in MOVES and any(not isinstance(x, There) and x.dim() for x in tensors):
        raise RuntimeError(f"{func}: Expected all tensors to be on the same device, but found {NAME} and cpu")
    if name == "linalg_lstsq" and kwargs.get("driver", "gels") not in {None, "gels"}:
        raise RuntimeError("torch.linalg.lstsq: parameter `driver` should be gels, which is all that a GPU has")
    if name == "histc":  # a GPU counts whole numbers too
        args = (There(args[0].numbers.float()), *args[1:])
    there = True
    if kwargs.get("device") is not None:
        there = torch.device(kwargs["device"]).type == NAME
        kwargs["device"] = CPU
    args, kwargs = tree_map(lambda x: x.numbers if isinstance(x, There) else x, (args, kwargs))
    made = func(*args, **kwargs)
    if name == "_local_scalar_dense" or not there:
        return made
    changed = owners if func._schema.is_mutable else {}

    def placed(x):
        return x if not isinstance(x, torch.Tensor) else changed[id(x)] if id(x) in changed else There(x)

    return tree_map(placed, made)


class _Backend:
    """The functions that torch requires of a device's module."""

    is_initialized = is_available = staticmethod(lambda: True)
    _is_in_bad_fork = staticmethod(lambda: False)
    current_device = staticmethod(lambda: 0)
    device_count = staticmethod(lambda: 1)
    manual_seed_all = staticmethod(lambda seed: None)
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16])


class _Generator(torch.Generator):
    """The CPU's random generator: a device in Python has no generator."""

    def __new__(cls, *_):
        return super().__new__(cls)


_registered = []


def device():
    """Return the device; known to torch from the first call on, which must come before any gradient is computed."""
    if not _registered:
        # Parameters are moved in place, so that tied weights stay tied.
        torch.__future__.set_swap_module_params_on_conversion(True)
        _setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
        torch.Generator = _Generator
        library = torch.library.Library("aten", "IMPL")
        for empty in (torch.ops.aten.empty.memory_format, torch.ops.aten.empty_strided.default):

            def made(*args, empty=empty, **kwargs):
                return There(empty(*args, **{**kwargs, "device": CPU}))

            library.impl(empty.name().removeprefix("aten::"), made, "PrivateUse1")

        def copied(source, to, *_):
            return operation(torch.ops.aten.copy_.default, (to, source), {})

        library.impl("_copy_from", copied, "PrivateUse1")
        _registered.append(library)
    return torch.device(NAME, 0)
