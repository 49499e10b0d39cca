from tests.helpers.fixtures import client, loaded, page, temporary  # noqa: F401
