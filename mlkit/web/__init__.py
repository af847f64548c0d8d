"""The shared HTTP layer: an ASGI application, its server, and the processes around it.

It knows nothing of any workload, and is the only importer of the ASGI server.
"""
