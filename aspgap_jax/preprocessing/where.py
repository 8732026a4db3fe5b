"""Rows that pass an expression a user wrote: ``teff_xp < 5000 and flags == 0``.

The text is parsed as Python by :mod:`ast`, of which only comparisons, ``and``, ``or``,
``not``, arithmetic, the bit operators ``&``, ``|``, ``^``, ``in`` with a list of numbers
and a few functions are understood, and computed by :mod:`pyarrow.compute`: nothing is
executed. A missing value (NaN) makes a comparison unknown, as in SQL, and a row whose
answer is unknown does not pass. Flags go by their names: ``flags & DWARF == 0``.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool

from aspgap_jax.columns import Columns
from aspgap_jax.errors import InputError
from aspgap_jax.flags import FLAGS
from aspgap_jax.preprocessing.cuts import Condition

__all__ = ["check_columns", "where"]

COMPARISONS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Lt: pc.less,
    ast.LtE: pc.less_equal,
    ast.Gt: pc.greater,
    ast.GtE: pc.greater_equal,
    ast.Eq: pc.equal,
    ast.NotEq: pc.not_equal,
}
ARITHMETIC: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: pc.add,
    ast.Sub: pc.subtract,
    ast.Mult: pc.multiply,
    # Of integers too, a fraction.
    ast.Div: lambda a, b: pc.divide(pc.cast(a, pa.float64()), pc.cast(b, pa.float64())),
    ast.Pow: lambda a, b: pc.power(pc.cast(a, pa.float64()), pc.cast(b, pa.float64())),
    ast.BitAnd: pc.bit_wise_and,
    ast.BitOr: pc.bit_wise_or,
    ast.BitXor: pc.bit_wise_xor,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": pc.abs,
    "sqrt": pc.sqrt,
    "log10": pc.log10,
    "exp": pc.exp,
    "isfinite": lambda values: pc.fill_null(pc.is_finite(values), False),
}
BITS = {flag.name: flag.bit for flag in FLAGS}
# What a < b < c may chain.
ONE_WAY: tuple[set[type[ast.AST]], ...] = ({ast.Lt, ast.LtE}, {ast.Gt, ast.GtE}, {ast.Eq})
UNDERSTOOD = (
    "comparisons, and, or, not, + - * / **, & | ^, in [...], "
    f"{', '.join(FUNCTIONS)}, names of columns and flags"
)
CURE = "; write it like 'teff_xp < 5000 and flags == 0'"


def where(text: str) -> Condition:
    """A cut from an expression over columns.

    Args:
        text: such as ``4000 < teff_xp < 5000 and flags & LOW_SNR == 0``.

    Returns:
        The condition, with the columns that it needs.

    Raises:
        InputError: the text is no such expression; where it fails.

    Examples:
        >>> cut = where("teff_xp < 5000 and not flags & 2 > 0")
        >>> cut.needs
        ('flags', 'teff_xp')
        >>> stars = {"teff_xp": np.array([4000.0, 4000.0, np.nan]), "flags": np.array([1, 2, 0])}
        >>> cut.keep(stars).tolist()
        [True, False, False]
    """
    try:
        tree: ast.AST = _FromPandas().visit(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = getattr(error, "msg", "") or "cannot be read"
        raise _refusal(text, f"no expression ({why})") from None
    names: set[str] = set()
    _check(tree, text, names, answer=True)
    if not names:
        raise _refusal(text, "names no column")

    def keep(columns: Columns) -> Bool[np.ndarray, " star"]:
        stars = {name: pa.array(columns[name], from_pandas=True) for name in names}
        try:
            found = _compute(tree, stars)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            # Bits of a column that has none.
            raise _refusal(text, f"cannot be computed ({str(error).splitlines()[0]})") from None
        return np.asarray(pc.fill_null(found, False))

    return Condition(text, tuple(sorted(names)), keep)


def check_columns(condition: Condition, have: Iterable[str]) -> None:
    """Refuse a condition of :func:`where` on a column that is not there.

    Args:
        condition: what was asked.
        have: names of the table's columns.

    Raises:
        InputError: the column, one that its name is like, and all there are.
    """
    known = list(have)
    for name in condition.needs:
        if name not in known:
            close = difflib.get_close_matches(name, [*known, *BITS], n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise _refusal(
                condition.name, f"no column {name}{hint}; the columns are {', '.join(known)}", ""
            )


def _refusal(text: str, why: str, cure: str = CURE) -> InputError:
    return InputError(f"--where {text!r}: {why}{cure}")


def _is_answer(node: ast.AST) -> bool:
    """Whether a part of an expression is true or false for a row."""
    match node:
        case ast.UnaryOp(op=ast.Not()) | ast.BoolOp() | ast.Compare():
            return True
        case ast.Call(func=ast.Name(id="isfinite")):
            return True
    return False


class _FromPandas(ast.NodeTransformer):
    """``(a < 1) & ~(b < 2)``, as pandas wants it, to ``a < 1 and not b < 2``."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        joins: dict[type[ast.AST], ast.boolop] = {ast.BitAnd: ast.And(), ast.BitOr: ast.Or()}
        if type(node.op) in joins and _is_answer(node.left) and _is_answer(node.right):
            return ast.BoolOp(joins[type(node.op)], [node.left, node.right])
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Invert) and _is_answer(node.operand):
            return ast.UnaryOp(ast.Not(), node.operand)
        return node


def _check(node: ast.AST, text: str, names: set[str], *, answer: bool) -> None:
    """Refuse what is not understood; collect the columns.

    Args:
        node: a part of the expression.
        text: all of it.
        names: of its columns, to be added to.
        answer: whether this part must be true or false, or else a number.
    """
    if _is_answer(node) is not answer:
        kind = "true or false, as 'teff_xp < 5000' is" if answer else "a number"
        raise _refusal(text, f"{ast.unparse(node)!r} is not {kind}")
    inside: list[ast.expr]
    parts_answer = False
    match node:
        case ast.BoolOp(values=inside):
            parts_answer = True
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inside, parts_answer = [operand], True
        case _ if _number(node) is not None:
            return
        case ast.Name(id=name):
            names.update({name} - BITS.keys())
            return
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            inside = [operand]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            inside = [left, right]
        case ast.Compare(left=left, ops=[ast.In() | ast.NotIn()], comparators=[items]) if (
            isinstance(items, ast.Tuple | ast.List | ast.Set)
            and items.elts
            and all(_number(item) is not None for item in items.elts)
        ):
            inside = [left]
        case ast.Compare(left=left, ops=ops, comparators=others) if {
            type(op) for op in ops
        } <= COMPARISONS.keys():
            inside = [left, *others]
            if len(ops) > 1 and not any({type(op) for op in ops} <= way for way in ONE_WAY):
                # a < 1 & b == 2 is a < (1 & b) == 2: hardly what was meant.
                raise _refusal(
                    text,
                    f"{ast.unparse(node)!r} chains comparisons of several kinds: put each in "
                    "parentheses, or join them by and",
                )
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            inside = [argument]
        case _:
            raise _refusal(text, f"{ast.unparse(node)!r} is not understood ({UNDERSTOOD} are)")
    for part in inside:
        _check(part, text, names, answer=parts_answer)


def _number(node: ast.AST) -> int | float | None:
    match node:
        case ast.Constant(value=value) if isinstance(value, int | float) and value is not True:
            return None if value is False else value
        case ast.UnaryOp(op=ast.USub(), operand=operand) if (
            number := _number(operand)
        ) is not None:
            return -number
    return None


def _compute(node: ast.AST, columns: dict[str, pa.Array]) -> Any:
    """The value of a checked expression, null where it is unknown."""

    def value(part: ast.AST) -> Any:
        return _compute(part, columns)

    match node:
        case ast.BoolOp(op=op, values=values):
            join = pc.and_kleene if isinstance(op, ast.And) else pc.or_kleene
            return reduce(join, map(value, values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return pc.invert(value(operand))
        case ast.UnaryOp(op=op, operand=operand):
            return pc.negate(value(operand)) if isinstance(op, ast.USub) else value(operand)
        case ast.BinOp(left=left, op=op, right=right):
            return ARITHMETIC[type(op)](value(left), value(right))
        case ast.Compare(left=left, ops=[ast.In() | ast.NotIn() as op], comparators=[items]) if (
            isinstance(items, ast.Tuple | ast.List | ast.Set)
        ):
            given = value(left)
            equal = [pc.equal(given, pa.scalar(_number(item))) for item in items.elts]
            found = reduce(pc.or_kleene, equal)
            return found if isinstance(op, ast.In) else pc.invert(found)
        case ast.Compare(left=left, ops=ops, comparators=others):
            sides = [value(part) for part in (left, *others)]
            pairs = zip(ops, sides, sides[1:], strict=False)
            return reduce(pc.and_kleene, [COMPARISONS[type(op)](a, b) for op, a, b in pairs])
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return FUNCTIONS[name](value(argument))
        case ast.Name(id=name):
            return pa.scalar(BITS[name]) if name in BITS else columns[name]
    return pa.scalar(_number(node))
