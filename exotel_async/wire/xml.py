"""What does an XML answer say, as the same objects that JSON gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_DEEPEST = 16


def read_xml(body: bytes) -> dict[str, Any]:
    """Read what stands in `<TwilioResponse>`; raise ValueError if it is not that.

    An element with children is an object, one that occurs several times a list, any other its
    text. A DOCTYPE is refused: entities could blow up or read files.
    """
    import xml.etree.ElementTree as ET  # JSON users need not load it

    class Plain(ET.TreeBuilder):
        def doctype(self, *_: object) -> None:
            raise ValueError("an XML answer with a DOCTYPE")

    parser = ET.XMLParser(target=Plain())  # noqa: S314 - DOCTYPE, so entities, refused
    try:
        parser.feed(body)
        root = parser.close()
    except ET.ParseError as error:
        raise ValueError(f"not well-formed XML ({error})") from error
    except LookupError as error:
        raise ValueError(f"XML in an encoding that nobody knows ({error})") from error
    tree = _to_tree(root, depth=0) if root.tag == "TwilioResponse" else None
    if not isinstance(tree, dict):
        raise ValueError("XML without a TwilioResponse")  # noqa: TRY004 - it was read, not passed
    return tree


def _to_tree(element: Element, *, depth: int) -> Any:
    if depth > _DEEPEST:
        raise ValueError("XML nested too deep")
    if not len(element):
        return element.text or ""
    tree: dict[str, Any] = {}
    for child in element:
        value = _to_tree(child, depth=depth + 1)
        if child.tag not in tree:
            tree[child.tag] = value
        elif isinstance(tree[child.tag], list):
            tree[child.tag].append(value)
        else:
            tree[child.tag] = [tree[child.tag], value]
    return tree
