"""A list or watch request, decoded: what both handlers look at."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.api.groups import ApiResource
from proxy.api.list_options import ListOptions
from proxy.api.media_types import Form, Representation
from proxy.server.client_selectors import Selection
from proxy.upstream.list_reader import ReadForm


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRequest:
    """`selection` holds the options and how the client's selectors are read."""

    resource: ApiResource
    selection: Selection
    representation: Representation

    @property
    def options(self) -> ListOptions:
        """The query parameters."""
        return self.selection.options

    @property
    def form(self) -> ReadForm:
        """What is read upstream for it."""
        return read_form(self.representation)


def read_form(representation: Representation) -> ReadForm:
    """What is read upstream for a representation."""
    return ReadForm.TABLE if representation.form is Form.TABLE else ReadForm.OBJECT
