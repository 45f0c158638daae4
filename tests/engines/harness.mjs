// Helpers of the browser engine tests: browsers behind WebDriver, and pages with acts that a test calls.

import { createServer } from "node:http";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { setTimeout } from "node:timers/promises";
import { Capabilities, WebDriver } from "selenium-webdriver";
import { ServiceBuilder as Chromedriver } from "selenium-webdriver/chrome.js";
import { ServiceBuilder as Geckodriver } from "selenium-webdriver/firefox.js";
import { Executor, HttpClient } from "selenium-webdriver/http/index.js";
import { Command } from "selenium-webdriver/lib/command.js";
import { DriverService } from "selenium-webdriver/remote/index.js";
import { CHROMIUM } from "../chromium.mjs";
import { PATIENCE, project, scene } from "../runtimes/harness.mjs";

export { PATIENCE, project, rejection, startStage } from "../runtimes/harness.mjs";

/** The path of the package from a page beside `node_modules`. */
export const PLAIN = "../node_modules/custom-template-jobs/web.js";

const ENGINES = {
  chromium: {
    driver: new Chromedriver(process.env.CHROMEDRIVER ?? "/usr/bin/chromedriver"),
    capabilities: {
      browserName: "chrome",
      "goog:chromeOptions": {
        binary: CHROMIUM.executablePath,
        args: CHROMIUM.args,
      },
    },
    offline: (execute, script, yes) =>
      yes
        ? execute("POST", "chromium/network_conditions", { network_conditions: { offline: true, latency: 0, throughput: 0 } })
        : execute("DELETE", "chromium/network_conditions", {}),
  },
  firefox: {
    // Allows scripts in the browser's own context, which is the only way to set it offline.
    driver: new Geckodriver(process.env.GECKODRIVER ?? "/usr/bin/geckodriver").addArguments("--allow-system-access"),
    capabilities: {
      browserName: "firefox",
      "moz:firefoxOptions": { binary: process.env.FIREFOX ?? "/usr/bin/firefox-esr", args: ["-headless"] },
    },
    async offline(execute, script, yes) {
      await execute("POST", "moz/context", { context: "chrome" });
      await script(`Services.io.offline = ${yes}`);
      await execute("POST", "moz/context", { context: "content" });
    },
  },
  // It has no headless mode, and draws on DISPLAY.
  webkit: {
    driver: new DriverService.Builder(process.env.WEBKIT_DRIVER ?? "/usr/bin/WebKitWebDriver"),
    capabilities: { browserName: "MiniBrowser" },
  },
};

export const engines = Object.keys(ENGINES);
/** The engines that a test can set offline. */
export const offlineEngines = engines.filter((engine) => ENGINES[engine].offline);

/** Starts a browser with an empty profile. `quit` ends it. */
export async function startBrowser(engine) {
  const { driver: builder, capabilities, offline } = ENGINES[engine];
  const service = builder.setLoopback(true).build();
  const executor = new Executor(new HttpClient(await service.start(PATIENCE)));
  const driver = WebDriver.createSession(executor, new Capabilities(capabilities));
  await driver.manage().setTimeouts({ script: PATIENCE, pageLoad: PATIENCE }).catch(async (thrown) => {
    await service.kill();
    throw thrown;
  });
  // A command of this driver only.
  const execute = (method, path, parameters) => {
    const name = `${method} ${path}`;
    executor.defineCommand(name, method, `/session/:sessionId/${path}`);
    return driver.execute(new Command(name).setParameters(parameters));
  };
  // WebKit's driver may return while the page is still loading, and then runs scripts in the old page.
  const moving = async (move) => {
    await driver.executeScript("window.left = true;");
    await move();
    await until(() => driver.executeScript("return !window.left && document.readyState === 'complete';"));
  };
  /** Calls an act of the page and returns its result. */
  const act = async (name, ...args) => {
    const script = "const [name, args, done] = arguments; window.act(name, ...JSON.parse(args)).then(done);";
    const { value, error } = JSON.parse(await driver.executeAsyncScript(script, name, JSON.stringify(args)));
    if (error) throw Object.assign(new Error(error.message), error);
    return value;
  };
  const version = (await driver.getCapabilities()).getBrowserVersion();
  return {
    version,
    visit: (url) => moving(() => driver.get(url)),
    /** Goes back in the history. The page may come from the cache, with its former state. */
    async back() {
      await driver.executeScript("window.leftBack = true;");
      await driver.navigate().back();
      await until(() => driver.executeScript("return !window.leftBack && document.readyState === 'complete';"));
    },
    reload: () => moving(() => driver.navigate().refresh()),
    /** Visits a page in a new tab, and returns. */
    async inAnotherTab(url, act) {
      const first = await driver.getWindowHandle();
      await driver.switchTo().newWindow("tab");
      try {
        await moving(() => driver.get(url));
        await act();
      } finally {
        await driver.close();
        await driver.switchTo().window(first);
      }
    },
    /** Sets the browser offline or online. */
    offline: (yes) => offline(execute, (script) => driver.executeScript(script), yes),
    /** Visits a page in several windows, all visible, and closes them after `use`. */
    async inWindows(url, count, use) {
      const first = await driver.getWindowHandle();
      const on = async (handle, then) => {
        await driver.switchTo().window(handle);
        return then();
      };
      const windows = [];
      try {
        while (windows.length < count) {
          await driver.switchTo().newWindow("window");
          const handle = await driver.getWindowHandle();
          await moving(() => driver.get(url));
          windows.push({
            act: (...given) => on(handle, () => act(...given)),
            errors: () => on(handle, () => driver.executeScript("return window.errors;")),
            close: () => on(handle, () => driver.close()),
            /** Crashes the window's renderer process. */
            crash: () => on(handle, () => driver.get("chrome://crash").catch(() => {})),
          });
        }
        await use(windows);
      } finally {
        for (const handle of await driver.getAllWindowHandles()) {
          if (handle !== first) await on(handle, () => driver.close());
        }
        await driver.switchTo().window(first);
      }
    },
    act,
    /** The errors of the page since it was loaded. */
    errors: () => driver.executeScript("return window.errors;"),
    async quit() {
      await driver.quit();
      await service.kill();
    },
  };
}

/** A script file of the page, since policies forbid inline scripts. Results are JSON text, which all engines return alike. */
const PRELUDE = `
  window.errors = [];
  addEventListener("error", ({ message }) => errors.push(message));
  addEventListener("unhandledrejection", ({ reason }) => errors.push(String(reason)));
  window.act = async (name, ...args) => {
    try {
      return JSON.stringify({ value: await acts[name](...args) });
    } catch (error) {
      return JSON.stringify({ error: { name: error.name, message: error.message, operation: error.operation } });
    }
  };`;

const HTML = `<!doctype html><meta charset="utf-8"><title>acts</title><link rel="icon" href="data:,">
  <script src="./prelude.js"></script><script type="module" src="./main.js"></script>`;

/** Writes a page whose main script sets `acts`; returns its path in the project. */
export async function page(name, main, files) {
  const directory = `engines-${name}`;
  await scene(directory, { "index.html": HTML, "prelude.js": PRELUDE, "main.js": main, ...files });
  return `${directory}/index.html`;
}

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };

/** Serves the project's files at an origin of their own, with a policy, during `use`. */
export async function served(contentSecurityPolicy, use) {
  const server = createServer(async ({ url }, response) => {
    const file = normalize(new URL(url, "http://localhost").pathname);
    const content = await readFile(join(project, file)).catch(() => undefined);
    response.writeHead(content ? 200 : 404, {
      "content-type": TYPES[extname(file)] ?? "text/plain",
      "content-security-policy": contentSecurityPolicy,
    });
    response.end(content);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    return await use(`http://127.0.0.1:${server.address().port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** Waits until `so` returns a truthy value, and returns that. */
export async function until(so) {
  const patience = AbortSignal.timeout(PATIENCE);
  for (;;) {
    const found = await so();
    if (found) return found;
    await setTimeout(50, undefined, { signal: patience });
  }
}
