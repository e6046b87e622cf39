// OHIF's prebuilt pages with our configuration, and the archive's DICOMweb under the same origin.

import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer, request as httpRequest } from 'node:http';
import { extname, join, normalize } from 'node:path';

const TYPES = {
  '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.css': 'text/css',
  '.json': 'application/json', '.wasm': 'application/wasm', '.svg': 'image/svg+xml', '.png': 'image/png',
};

function forward(request, response, archive) {
  const url = new URL(archive + request.url.slice('/dicom-web'.length));
  const onward = httpRequest(url, { method: request.method, headers: { ...request.headers, host: url.host } }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.on('error', () => response.destroy());
  response.on('close', () => onward.destroy());
  request.pipe(onward);
}

function page(request, response, dist, configuration) {
  const path = normalize(decodeURIComponent(new URL(request.url, 'http://x').pathname));
  let file = path === '/app-config.js' ? configuration : join(dist, path);
  if (!existsSync(file) || statSync(file).isDirectory()) {
    file = join(dist, 'index.html');
  }
  response.writeHead(200, {
    'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Embedder-Policy': 'require-corp',
  });
  createReadStream(file).pipe(response);
}

/** Serves on a free loopback port; gives the base URL and a function that ends it. */
export async function serve(dist, configuration, archive) {
  const server = createServer((request, response) =>
    request.url.startsWith('/dicom-web')
      ? forward(request, response, archive)
      : page(request, response, dist, configuration)
  );
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  return [`http://127.0.0.1:${server.address().port}`, () => server.closeAllConnections() ?? server.close()];
}
