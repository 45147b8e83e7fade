"""The fixture of backends, marks by what a test needs, and how hypothesis runs.

``REFSGD_BACKEND`` fixes one backend. With ``REFSGD_REQUIRE_BACKENDS=1`` a backend that cannot be used is a
failure.
"""

from __future__ import annotations

import os

import pytest
from backends import BACKENDS
from hypothesis import settings

from refsgd._errors import BackendError

settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if "CI" in os.environ else "dev")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "backend" in getattr(item, "fixturenames", ()):
            item.add_marker("each_backend")
        params = getattr(getattr(item, "callspec", None), "params", {})
        if any(isinstance(value, str) and value == "numba" for value in params.values()):
            item.add_marker("numba")


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The name of each backend that can be used, in turn."""
    from refsgd import kernels

    name: str = request.param
    try:
        kernels.load(name)
    except BackendError as error:
        if os.environ.get("REFSGD_REQUIRE_BACKENDS") == "1":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    return name
