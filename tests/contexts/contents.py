"""What a loaded context holds, read back."""


def contents(store, info):
    """Every document's text by its path."""
    return {
        each.path: store.read(info, each.start, each.start + each.chars)
        for each in store.catalogue(info.id).documents
    }
