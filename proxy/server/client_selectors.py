"""The client's own selectors, checked and made ready to be evaluated here as upstream would."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from proxy.api.groups import ApiResource, GroupVersionResource
from proxy.api.list_options import ListOptions
from proxy.api.objects import ObjectVersion
from proxy.api.selectable_fields import selectable_fields
from proxy.authz.visibility import FieldReader
from proxy.upstream.client import UpstreamClient
from proxy.upstream.list_reader import ListQuestion, ReadForm, read_page

_EVERY_RESOURCE = frozenset({"metadata.name", "metadata.namespace"})

_MAX_ACCEPTED = 1024
"""Sets of field labels that upstream was asked about and took."""


@dataclass(frozen=True, slots=True)
class Selection:
    """List options whose field selector is in upstream's own labels, and how to read those from an object."""

    options: ListOptions
    read_field: FieldReader | None


class ClientSelectors:
    """Knows the fields of built-in kinds; asks upstream about others, once for each set of labels."""

    def __init__(self, client: UpstreamClient) -> None:
        self._client = client
        self._accepted: OrderedDict[tuple[GroupVersionResource, frozenset[str]], None] = OrderedDict()

    async def check(self, options: ListOptions, resource: ApiResource) -> Selection:
        """Raises BadRequest, upstream's own, for a field that cannot be selected."""
        if options.field_selector is None:
            return Selection(options, None)
        fields = selectable_fields(resource.gvr)
        if fields is None:
            await self._ask_upstream(options, resource)
            return Selection(options, _read_path)
        return Selection(
            replace(options, field_selector=fields.convert(options.field_selector)),
            lambda version, label: fields.readers[label](version),
        )

    async def _ask_upstream(self, options: ListOptions, resource: ApiResource) -> None:
        assert options.field_selector is not None
        labels = frozenset(term.path for term in options.field_selector.terms)
        if labels <= _EVERY_RESOURCE - ({"metadata.namespace"} if not resource.namespaced else set()):
            return
        key = (resource.gvr, labels)
        if key in self._accepted:
            return
        question = ListQuestion(resource=resource, form=ReadForm.OBJECT, field_selector=options.field_selector_text)
        await read_page(self._client, question, limit=1)
        self._accepted[key] = None
        if len(self._accepted) > _MAX_ACCEPTED:
            self._accepted.popitem(last=False)


def _read_path(version: ObjectVersion, label: str) -> str:
    return version.field(label) or ""
