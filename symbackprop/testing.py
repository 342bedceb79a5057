"""For someone's own test suite: one line that fails with a message worth reading.

    from symbackprop.testing import assert_backward

    def test_my_backward_pass():
        assert_backward(net, my_backward)

Any test runner shows the message; no plugin is needed. It runs the function that it is given.
"""

from __future__ import annotations

from typing import Any

from symbackprop.codecheck import FunctionReport, check_function

__all__ = ["assert_backward", "assert_gradient"]


def assert_backward(network: Any, backward: Any, wrt: Any = None, **options: Any) -> FunctionReport:
    """Raise unless a backward pass agrees with the derived gradient; options as for `Network.check_function`.

    Raises:
        AssertionError: It does not; the message is the report.

    >>> from symbackprop import dense
    >>> net = dense([3, 2], activation="identity")
    >>> def backward(params, x, y):
    ...     (w,) = params["w"]
    ...     return {"w": [2 * (x @ w.T - y).T @ x / len(x)]}
    >>> bool(assert_backward(net, backward))
    True
    """
    __tracebackhide__ = True
    report = check_function(network, backward, wrt, **options)
    if not report:
        raise AssertionError(report.text())
    return report


assert_gradient = assert_backward
"""The same by another name."""
