"""Bodies: what the three POST requests may say. Keys that the reference does not name are ignored."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from keepalive.emulator.filters import Combination, Group, Leaf


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class HeartbeatBody(_Body):
    """A heartbeat: `{"scriptId": "…"}`, or `{}` for the whole account."""

    script_id: Annotated[str | None, Field(alias="scriptId")] = None


class PrepareBody(HeartbeatBody):
    """A prepare: a heartbeat that says which events it wants."""

    combination: Combination = "and"
    filters: list[Leaf | Group] = []

    @property
    def wanted(self) -> Group:
        """The filters and their combination as one."""
        return Group(filterCombination=self.combination, filters=self.filters)


class Timeframe(_Body):
    """From when to when, both included, in milliseconds of Unix time."""

    begin: Annotated[int, Field(alias="from")]
    end: Annotated[int, Field(alias="to")]

    @model_validator(mode="after")
    def _runs_forward(self) -> Self:
        if self.begin >= self.end:
            raise ValueError("`from` must be earlier than `to`")
        return self


class QueryBody(_Body):
    """A query for events; the emulator knows no other view."""

    query_id: Annotated[str, Field(alias="queryId")]
    timeframe: Timeframe
    view: Literal["events"] = "events"
    limit: Annotated[int, Field(ge=1, le=2000)] = 50
    offset: str | None = None
    direction: Annotated[Literal["next", "prev"], Field(alias="offsetDirection")] = "next"
    parameters: Group = Group()
