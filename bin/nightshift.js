#!/usr/bin/env node
import("../dist/src/main.js").catch((error) => {
  if (error?.code === "ERR_MODULE_NOT_FOUND" && String(error.message).includes("dist/src/main.js")) {
    console.error("nightshift is not built: run `npm ci` or `npm run build` in the checkout");
    process.exitCode = 1;
  } else throw error;
});
