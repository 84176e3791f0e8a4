"""The page of contracts: figures with their units, places that break where a reader would."""

from __future__ import annotations

import re

from platform_lib.catalog.model import Finding
from platform_lib.contracts.page import render_page
from platform_lib.contracts.state import Checked
from platform_lib.contracts.summary import ContractSummary, RuleRow

_PLACE = "drive-1 a_very_long_name.mcap in /logs/2026/a_very_long_name.mcap: /odom at 12.345 s"


def _page() -> str:
    row = RuleRow("starts_in_our_time", "warning", "fail", "1970", "year", "between 2000 and 2100", _PLACE, 2, 1)
    finding = Finding("starts_in_our_time", "warning", "fail", "1970", "year", "between 2000 and 2100", _PLACE)
    contract = ContractSummary("drives", "1.0.1", "0" * 64, "drives", "fleet", "o", 1, (row,), (("a.mcap", finding),))
    return render_page(Checked("0" * 64, (contract,), (), (), 0))


def test_a_calendar_year_is_named_and_not_counted() -> None:
    page = _page()
    assert "year 1970" in page
    assert "1970 year" not in page
    finding = Finding("r", "warning", "fail", "1970", "year", "between 2000 and 2100", "")
    assert finding.sentence == "r: year 1970, has to be between 2000 and 2100"


def test_a_place_breaks_after_slashes_and_never_inside_a_time() -> None:
    page = _page()
    cells = re.findall(r'<td class="place">(.*?)</td>', page)
    assert len(cells) == 2
    assert all("12.345\u00a0s" in cell and "/<wbr>logs/<wbr>2026" in cell for cell in cells)
    assert "overflow-wrap:anywhere" not in page
