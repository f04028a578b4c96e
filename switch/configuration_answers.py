"""What a node asks for its configuration while it runs: the SIP profiles with the gateways of this moment, and from
where these may call in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from infra.kit.database import Database, Scope
from infra.kit.sealing import Seal
from switch import gateways, node_sign_in, nodes
from switch.documents import NodeConfiguration, configuration, not_found
from switch.documents.answers import HEALTH_FILE, health
from switch.form_reading import read_form
from switch.node_sign_in import NodeSignIn

CURRENT_FILES = frozenset({"sofia.conf", "acl.conf"})
"""What changes while a node runs: its gateways, and who may call in. Who may command a node is known to its own files
alone.
"""

UNUSED_SPOOL = Path("/nonexistent")
"""Only a node's own files say where it keeps records; an answer to it never does."""


class ConfigurationAnswers:
    """Answers questions of the section `configuration`. `api_url`: where nodes reach the API. `prove`: whether a node's
    phones would be answered; raises as that does.
    """

    def __init__(
        self, database: Database, seal: Seal, api_url: str, prove: Callable[[NodeSignIn], Awaitable[None]]
    ) -> None:
        self._prove = prove
        self._database = database
        self._seal = seal
        self._api_url = api_url

    async def answer(self, sign_in: NodeSignIn, body: bytes) -> str:
        """The document for a form of mod_xml_curl; "not found" for everything that stands in the node's files.

        Errors: `NodeNotSignedIn`, `MalformedRequest`, `Unavailable`.
        """
        wanted = read_form(body).get("key_value")
        if wanted == HEALTH_FILE:
            await self._prove(sign_in)
            return health()
        current = await self.current(sign_in)
        return configuration(current, wanted) if wanted in CURRENT_FILES else not_found()

    async def current(self, sign_in: NodeSignIn) -> NodeConfiguration:
        """What a node's profiles depend on now, the gateways' passwords unsealed. Raises `NodeNotSignedIn`."""
        async with self._database.transaction(Scope.platform()) as session:
            await node_sign_in.check(session, sign_in)
            node = await nodes.get_by_name(session, sign_in.node)
            carriers = await gateways.settings_for_nodes(session, self._seal)
        return nodes.configuration(node, carriers, self._seal, api_url=self._api_url, spool_directory=UNUSED_SPOOL)
