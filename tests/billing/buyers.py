"""What the tests of fapiao share: a buyer's tax particulars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from tests.api import Caller

PARTICULARS = {
    "title": "安心保险经纪有限公司",
    "credit_code": "91350100M000100Y43",
    "fapiao_kind": "special",
    "address": "杭州市西湖区文三路 478 号",
    "phone": "0571-88886666",
    "bank_name": "招商银行杭州分行文三路支行",
    "bank_account": "5719 0512 3410 001",
}


async def put_particulars(caller: Caller, tenant_id: str, body: Mapping[str, Any]) -> httpx.Response:
    """PUT them as a caller."""
    path = f"/v1/tenants/{tenant_id}/tax-particulars"
    return await caller.http.put(path, json=dict(body), headers=caller.headers)
