"""Fixtures of diagrams, as the tests of `mlkit.bpmn` have them."""

from __future__ import annotations

from bpmn.conftest import _arrows, _diagram

__all__ = ["_arrows", "_diagram"]
