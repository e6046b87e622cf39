/** The brain as a rendered volume with the tumour's surface inside, by vtk.js, in LPS millimetres. */

import "@kitware/vtk.js/Rendering/Profiles/Geometry";
import "@kitware/vtk.js/Rendering/Profiles/Volume";
import vtkColorTransferFunction from "@kitware/vtk.js/Rendering/Core/ColorTransferFunction";
import vtkImageData from "@kitware/vtk.js/Common/DataModel/ImageData";
import vtkPiecewiseFunction from "@kitware/vtk.js/Common/DataModel/PiecewiseFunction";
import vtkPlane from "@kitware/vtk.js/Common/DataModel/Plane";
import vtkDataArray from "@kitware/vtk.js/Common/Core/DataArray";
import vtkSTLReader from "@kitware/vtk.js/IO/Geometry/STLReader";
import vtkActor from "@kitware/vtk.js/Rendering/Core/Actor";
import vtkMapper from "@kitware/vtk.js/Rendering/Core/Mapper";
import vtkVolume from "@kitware/vtk.js/Rendering/Core/Volume";
import vtkVolumeMapper from "@kitware/vtk.js/Rendering/Core/VolumeMapper";
import vtkGenericRenderWindow from "@kitware/vtk.js/Rendering/Misc/GenericRenderWindow";
import { address, ask, read } from "../api";
import type { Triple, Volume } from "../api";

export interface VolumeScene {
  opacity(value: number): void;
  clip(share: number): void;
  picture(): Promise<string>;
  stop(): void;
}

const COARSE = 2;

export async function openVolumeScene(stage: HTMLElement, study_key: string): Promise<VolumeScene> {
  const volume = await read("studies/{study_key}/volume", { study_key });
  const contrast = volume.contrasts.includes("t1c") ? "t1c" : volume.contrasts[0];
  if (!contrast) throw new Error("-");
  const answer = await ask("GET", address("studies/{study_key}/volume/{contrast}", { study_key, contrast }));
  const stl = await ask("GET", address("studies/{study_key}/meshes/{part}", { study_key, part: "whole", format: "stl" })).catch(() => null);
  const slope = Number(answer.headers.get("Timepoint-Slope"));
  const window = JSON.parse(answer.headers.get("Timepoint-Window") ?? "[0,1]") as [number, number];
  const image = coarse(new Int16Array(await answer.arrayBuffer()), volume);
  const place = document.createElement("div");
  place.className = "wide";
  stage.prepend(place);
  const view = vtkGenericRenderWindow.newInstance({ background: [0.043, 0.059, 0.078] });
  view.setContainer(place);
  place.style.height = "100%";
  const mapper = vtkVolumeMapper.newInstance();
  mapper.setInputData(image);
  mapper.setSampleDistance(2.2);
  const actor = vtkVolume.newInstance();
  actor.setMapper(mapper);
  const [low, high] = [window[0] / slope, window[1] / slope];
  const grey = vtkColorTransferFunction.newInstance();
  grey.addRGBPoint(low, 0, 0, 0);
  grey.addRGBPoint(high, 1, 1, 1);
  const property = actor.getProperty();
  property.setRGBTransferFunction(0, grey);
  property.setInterpolationTypeToLinear();
  property.setShade(false);
  const opacity = (value: number): void => {
    const ramp = vtkPiecewiseFunction.newInstance();
    ramp.addPoint(low + 0.12 * (high - low), 0);
    ramp.addPoint(high, value * 0.35);
    property.setScalarOpacity(0, ramp);
    view.getRenderWindow().render();
  };
  const renderer = view.getRenderer();
  renderer.addVolume(actor);
  if (stl) renderer.addActor(tumour(await stl.arrayBuffer()));
  const bounds = image.getBounds();
  const cut = vtkPlane.newInstance({ normal: [0, 1, 0], origin: [0, bounds[2] - 1, 0] });
  mapper.addClippingPlane(cut);
  // Seen from the front: LPS, so the camera stands at the anterior side (-Y) with the head (+Z) up.
  const camera = renderer.getActiveCamera();
  camera.setFocalPoint(0, 0, 0);
  camera.setPosition(0, -1, 0.15);
  camera.setViewUp(0, 0, 1);
  renderer.resetCamera();
  const observer = new ResizeObserver(() => view.resize());
  observer.observe(stage);
  view.resize();
  opacity(0.3);
  return {
    opacity,
    clip: (share) => {
      cut.setOrigin(0, bounds[2] - 1 + share * (bounds[3] - bounds[2]), 0);
      view.getRenderWindow().render();
    },
    picture: async () => {
      const [shot] = view.getRenderWindow().captureImages() as Promise<string>[];
      return (await shot) ?? "";
    },
    stop: () => {
      observer.disconnect();
      view.delete();
      place.remove();
    },
  };
}

/** Every second voxel of the grid as an image in LPS: enough for a rendering, an eighth of the work. */
function coarse(values: Int16Array, volume: Volume): ReturnType<typeof vtkImageData.newInstance> {
  const [slices, rows, columns] = volume.grid.shape;
  const size = [slices, rows, columns].map((n) => Math.ceil(n / COARSE)) as Triple;
  const thin = new Float32Array(size[0] * size[1] * size[2]);
  let i = 0;
  for (let k = 0; k < slices; k += COARSE)
    for (let r = 0; r < rows; r += COARSE) for (let c = 0; c < columns; c += COARSE) thin[i++] = values[(k * rows + r) * columns + c] as number;
  const affine = volume.grid.affine_lps;
  const column = (j: number): number[] => [0, 1, 2].map((r) => (affine[r] as number[])[j] as number);
  const spacing = [2, 1, 0].map((j) => Math.hypot(...column(j)));
  const direction = [2, 1, 0].flatMap((j, n) => column(j).map((v) => v / (spacing[n] as number)));
  const image = vtkImageData.newInstance({
    origin: column(3) as Triple,
    spacing: spacing.map((s) => s * COARSE) as Triple,
    direction: direction as never,
  });
  image.setDimensions([size[2], size[1], size[0]]);
  image.getPointData().setScalars(vtkDataArray.newInstance({ numberOfComponents: 1, values: thin }));
  return image;
}

function tumour(stl: ArrayBuffer): ReturnType<typeof vtkActor.newInstance> {
  const reader = vtkSTLReader.newInstance();
  reader.parseAsArrayBuffer(stl);
  const mapper = vtkMapper.newInstance({ scalarVisibility: false });
  mapper.setInputConnection(reader.getOutputPort());
  const actor = vtkActor.newInstance();
  actor.setMapper(mapper);
  actor.getProperty().setColor(1, 0.33, 0.43);
  return actor;
}
