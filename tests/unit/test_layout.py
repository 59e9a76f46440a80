"""How unitq's modules may import each other, beyond what import-linter's contracts say."""

from __future__ import annotations

import grimp


def circular(graph: grimp.ImportGraph) -> set[tuple[str, str]]:
    """Returns the imports from which a chain of imports leads back."""
    return {
        (module, imported)
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
        if graph.find_shortest_chain(importer=imported, imported=module)
    }


def test_no_imports_in_a_circle() -> None:
    """Imports within functions and for types count, too."""
    graph = grimp.build_graph("unitq", cache_dir=None)
    assert len(graph.modules) > 300
    assert circular(graph) == set()


def test_circles_are_found() -> None:
    graph = grimp.ImportGraph()
    for importer, imported in (("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")):
        graph.add_import(importer=importer, imported=imported)
    assert circular(graph) == {("a", "b"), ("b", "c"), ("c", "a")}
