"""A package with data and a plug-in."""


def hook():
    return "hooked"
