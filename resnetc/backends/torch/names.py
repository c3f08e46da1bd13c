"""Names in the emitted source."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable

_MODULE_ATTRIBUTES = """
    T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda
    double dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter
    get_submodule half ipu load_state_dict modules mtia named_buffers named_children
    named_modules named_parameters parameters register_backward_hook register_buffer
    register_forward_hook register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter
    register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state
    set_submodule share_memory state_dict to to_empty train training type xpu zero_grad
"""
MODULE_ATTRIBUTES = frozenset(_MODULE_ATTRIBUTES.split())
"""Attributes of `torch.nn.Module` that a child must not hide."""

_TAKEN = frozenset(dir(builtins)) | {"nn", "torch", "F", "Tensor"}
_SPELLED = {"resnet": "ResNet", "resnext": "ResNeXt", "densenet": "DenseNet"}


def is_attribute(name: str) -> bool:
    """Whether `self.<name> = layer` registers a child of that name that `self.<name>` finds."""
    plain = name.isidentifier() and name.isascii() and not keyword.iskeyword(name)
    return plain and not name.startswith("_") and name not in MODULE_ATTRIBUTES


def is_variable(name: str) -> bool:
    """Whether a value in `forward` can be called so."""
    return is_attribute(name) and name not in _TAKEN | {"self"}


def class_name(name: str) -> str:
    """A class's name for a block's or network's: `bottleneck` is `Bottleneck`."""
    words = re.findall(r"[A-Za-z]+|[0-9]+", name)
    camel = "".join(_SPELLED.get(word.lower(), word[:1].upper() + word[1:]) for word in words)
    return f"Network{camel}" if not camel or camel[0].isdigit() else camel


def function_name(name: str) -> str:
    """A function's name for a network's."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name).strip("_").lower()
    return plain if is_attribute(plain) else f"network_{plain}".rstrip("_")


class Namespace:
    """Hands out names, each once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = _TAKEN | set(taken)

    def claim(self, name: str) -> str:
        """The name itself, or with the first number that makes it new."""
        number, free = 2, name
        stem = f"{name}_" if name[-1:].isdigit() else name
        while free in self._taken or keyword.iskeyword(free):
            free, number = f"{stem}{number}", number + 1
        self._taken |= {free}
        return free
