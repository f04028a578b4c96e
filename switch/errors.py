"""Refusals of the switch room."""

from __future__ import annotations

from infra.kit.problems import Conflict, InvalidInput, NotFound, Unavailable


class NodeUnknown(NotFound):
    """There is no such node."""

    code = "node_not_found"


class NodeNameTaken(Conflict):
    """Another node has this name."""

    code = "node_name_taken"


class NodeAddressTaken(Conflict):
    """Another node listens at this address and port."""

    code = "node_address_taken"


class NodeInService(Conflict):
    """The node serves phones at the address that was to change."""

    code = "node_in_service"


class NodeStillNeeded(Conflict):
    """The node serves tenants or may be given some; only a node that does neither leaves."""

    code = "node_still_needed"


class GatewayNameTaken(Conflict):
    """Another gateway has this name."""

    code = "gateway_name_taken"


class GatewayUnknown(NotFound):
    """There is no such gateway."""

    code = "gateway_not_found"


class TooManyGateways(Conflict):
    """A node is not given more gateways than this."""

    code = "too_many_gateways"


class NumberTaken(Conflict):
    """The phone number belongs to a tenant already."""

    code = "number_taken"


class NumberUnknown(NotFound):
    """The phone number is nobody's, or another tenant's."""

    code = "number_not_found"


class ExtensionTaken(Conflict):
    """The tenant has a SIP account with this extension already."""

    code = "extension_taken"


class AccountUnknown(NotFound):
    """The seat has no SIP account."""

    code = "sip_account_not_found"


class NotPlaced(NotFound):
    """The tenant lives on no node yet."""

    code = "tenant_not_placed"


class AlreadyPlaced(Conflict):
    """The tenant lives on a node already."""

    code = "tenant_already_placed"


class PlacementChanged(Conflict):
    """The tenant was moved in the meantime; read the placement again."""

    code = "placement_changed"


class NodesNotReached(Unavailable):
    """Some nodes could not be told; the task tries again."""

    code = "nodes_not_reached"


class PolicyWidened(InvalidInput):
    """A tenant may tighten the policy of its calls; to allow more is the operator's to decide."""

    code = "call_policy_widened"
