"""The integration tests' helpers explain their failed assertions as tests do."""

import pytest

pytest.register_assert_rewrite("drift", "lab", "stranger")
