import { defineConfig } from "vite";

// The built pages are served by the gateway itself, from a folder of its package.
export default defineConfig({
  base: "./",
  build: { outDir: "../gateway/pages", emptyOutDir: true, target: "es2022" },
});
