/// <reference path="./index.d.ts" />
/** The WebAssembly, in the tools that import it as a module; what `init` of `custom-template-jobs/slim` takes. */
declare const module: WebAssembly.Module;
export default module;
