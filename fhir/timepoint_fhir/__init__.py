"""The longitudinal record as FHIR R4: resources, the transaction Bundle, the client and a demonstration endpoint.

Import what is needed from the modules themselves: `fhir.resources`, `httpx2` and `fastapi` are each slow to import and
only some callers need them.
"""
