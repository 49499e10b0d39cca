from tests.helpers.fixtures import client, loaded, temporary  # noqa: F401
