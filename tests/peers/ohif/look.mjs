// Opens series of a study in OHIF, as a radiologist does, and says what is to be seen: one JSON object on stdout.
//
// Job on stdin: { dist, configuration, archive, study, pictures, views: [{ name, series, kind, centre? }] }
//   kind "segmentation": the overlay is shown, hidden and compared; centre is a point (LPS mm) inside the segment
//   kind "text" | "calipers" | "image": what the viewport says, and a picture of it

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { serve } from './serve.mjs';

const FLAGS = [
  '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist', '--disable-quic', '--no-sandbox',
  '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
];
const PATIENCE = 120_000;

async function dismissTour(page) {
  const skip = page.getByText(/^Skip( all)?$/).first();
  await skip.waitFor({ timeout: 25_000 }).then(() => skip.click()).catch(() => {});
}

async function openSeries(page, description) {
  const label = page.getByText(description, { exact: true }).first();
  await label.waitFor({ timeout: PATIENCE });
  await label.scrollIntoViewIfNeeded();
  await label.dblclick();
}

/** The picture of the viewport's canvas as an array of grey values, row by row. */
async function canvasPixels(page) {
  return page.evaluate(async () => {
    const viewport = window.cornerstone.getEnabledElements()[0].viewport;
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const canvas = viewport.getCanvas();
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    const ratio = canvas.width / canvas.clientWidth;
    return { width: canvas.width, height: canvas.height, ratio, data: Array.from(data) };
  });
}

function difference(one, other) {
  let count = 0, x = 0, y = 0;
  for (let pixel = 0; pixel < one.width * one.height; pixel++) {
    const at = 4 * pixel;
    const apart = Math.max(...[0, 1, 2].map((c) => Math.abs(one.data[at + c] - other.data[at + c])));
    if (apart > 12) {
      count += 1;
      x += pixel % one.width;
      y += Math.floor(pixel / one.width);
    }
  }
  return { count, ratio: one.ratio, centre: [x / count / one.ratio, y / count / one.ratio] };
}

/** Returns when the viewport has shown this slice for three seconds: OHIF itself jumps to the first segment, later. */
async function holdSlice(page, slice) {
  for (let held = 0, tries = 0; held < 6; tries++) {
    if (tries > 120) {
      throw new Error(`the viewport does not stay on slice ${slice}`);
    }
    const there = await page.evaluate(async (wanted) => {
      const viewport = window.cornerstone.getEnabledElements()[0].viewport;
      const index = viewport.getCurrentImageIdIndex();
      if (index !== wanted) {
        await viewport.setImageIdIndex(wanted);
        viewport.render();
      }
      return index === wanted;
    }, slice);
    held = there ? held + 1 : 0;
    await page.waitForTimeout(500);
  }
}

async function segmentation(page, view) {
  const yes = page.getByRole('button', { name: 'Yes' });
  await yes.waitFor({ timeout: PATIENCE });
  await yes.click();
  await page.waitForFunction(
    () => window.cornerstoneTools?.segmentation.state.getSegmentations().length > 0, null, { timeout: PATIENCE });
  await page.waitForFunction(() => {
    const viewport = window.cornerstone.getEnabledElements()[0]?.viewport;
    const drawn = viewport && window.cornerstoneTools.segmentation.state.getSegmentationRepresentations(viewport.id);
    return drawn?.length > 0;
  }, null, { timeout: PATIENCE });
  const place = await page.evaluate(async (centre) => {
    const viewport = window.cornerstone.getEnabledElements()[0].viewport;
    const ids = viewport.getImageIds();
    const distance = ids.map((id) => {
      const plane = window.cornerstone.metaData.get('imagePlaneModule', id);
      const [row, column] = [plane.rowCosines, plane.columnCosines];
      const normal = [0, 1, 2].map(
        (i) => row[(i + 1) % 3] * column[(i + 2) % 3] - row[(i + 2) % 3] * column[(i + 1) % 3]);
      return Math.abs(normal.reduce((sum, n, i) => sum + n * (centre[i] - plane.imagePositionPatient[i]), 0));
    });
    const nearest = distance.indexOf(Math.min(...distance));
    await viewport.setImageIdIndex(nearest);
    const plane = window.cornerstone.metaData.get('imagePlaneModule', ids[nearest]);
    const aside = centre.map((value, i) => value + 10 * plane.rowCosines[i]);
    const [here, there] = [viewport.worldToCanvas(centre), viewport.worldToCanvas(aside)];
    const mm = 10 / Math.hypot(there[0] - here[0], there[1] - here[1]);
    return { slice: nearest, off_mm: distance[nearest], canvas: here, mm_per_pixel: mm };
  }, view.centre);
  await holdSlice(page, place.slice);
  const shown = await canvasPixels(page);
  await page.screenshot({ path: view.picture });
  await page.evaluate(() => {
    const { segmentation } = window.cornerstoneTools;
    const id = window.cornerstone.getEnabledElements()[0].viewport.id;
    for (const each of segmentation.state.getSegmentationRepresentations(id)) {
      segmentation.config.visibility.setSegmentationRepresentationVisibility(
        id, { segmentationId: each.segmentationId, type: each.type }, false);
    }
    window.cornerstone.getEnabledElements()[0].viewport.render();
  });
  await holdSlice(page, place.slice);
  const hidden = await canvasPixels(page);
  const labels = await page.evaluate(() =>
    window.cornerstoneTools.segmentation.state.getSegmentations().flatMap((each) =>
      Object.values(each.segments).map((segment) => segment.label)));
  return { ...place, ...difference(shown, hidden), labels };
}

async function said(page, view) {
  await page.waitForTimeout(view.kind === 'text' ? 5000 : 9000);
  const text = await page.evaluate(() => document.body.innerText);
  const drawn = await page.evaluate(() => Array.from(document.querySelectorAll('svg text, svg tspan')).map((e) => e.textContent));
  await page.screenshot({ path: view.picture });
  return { text, drawn };
}

const job = JSON.parse(readFileSync(0, 'utf8'));
const here = fileURLToPath(new URL('.', import.meta.url));
const [base, end] = await serve(job.dist, join(here, 'app-config.js'), job.archive);
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', headless: true, args: FLAGS });
const found = {};
try {
  for (const view of job.views) {
    const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
    const console_ = [];
    page.on('console', (message) => message.type() === 'error' && console_.push(message.text().slice(0, 200)));
    view.picture = join(job.pictures, `${view.name}.png`);
    try {
      await page.goto(`${base}/viewer?StudyInstanceUIDs=${job.study}`, { timeout: PATIENCE });
      await dismissTour(page);
      await openSeries(page, view.series);
      found[view.name] = view.kind === 'segmentation' ? await segmentation(page, view) : await said(page, view);
    } catch (error) {
      await page.screenshot({ path: view.picture }).catch(() => {});
      found[view.name] = { failure: String(error).slice(0, 600), console: console_.slice(-5) };
    }
    await page.close();
  }
} finally {
  await browser.close();
  end();
}
process.stdout.write(JSON.stringify(found));
