"""HL7 v2 messages about patients: read, acted on in one transaction, answered; a listener for MLLP around it."""
