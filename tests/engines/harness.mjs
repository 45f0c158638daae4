// Decides how the tests of browser engines get a page: a browser of each engine behind WebDriver, and acts that a page plays when asked to.

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

/** The package as a page beside `node_modules` sees it. */
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
    // It lets a test speak to the browser itself, which alone knows how to be offline.
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
  // It knows no headless mode: DISPLAY names where it draws.
  webkit: {
    driver: new DriverService.Builder(process.env.WEBKIT_DRIVER ?? "/usr/bin/WebKitWebDriver"),
    capabilities: { browserName: "MiniBrowser" },
  },
};

export const engines = Object.keys(ENGINES);
/** Those that a test can take the network from. */
export const unpluggable = engines.filter((engine) => ENGINES[engine].offline);

/** Starts a browser with an empty profile; `quit` it. */
export async function startBrowser(engine) {
  const { driver: builder, capabilities, offline } = ENGINES[engine];
  const service = builder.setLoopback(true).build();
  const executor = new Executor(new HttpClient(await service.start(PATIENCE)));
  const driver = WebDriver.createSession(executor, new Capabilities(capabilities));
  await driver.manage().setTimeouts({ script: PATIENCE, pageLoad: PATIENCE }).catch(async (thrown) => {
    await service.kill();
    throw thrown;
  });
  // What this driver alone understands.
  const execute = (method, path, parameters) => {
    const name = `${method} ${path}`;
    executor.defineCommand(name, method, `/session/:sessionId/${path}`);
    return driver.execute(new Command(name).setParameters(parameters));
  };
  // WebKit's driver may come back while the page is still loading, and so speak to the one that is left.
  const moving = async (move) => {
    await driver.executeScript("window.left = true;");
    await move();
    await until(() => driver.executeScript("return !window.left && document.readyState === 'complete';"));
  };
  /** Has the page play one of its acts, and gives how it ended. */
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
    /** As the button of that name: the page may be shown as it was left, and then it was left before. */
    async back() {
      await driver.executeScript("window.leftBack = true;");
      await driver.navigate().back();
      await until(() => driver.executeScript("return !window.leftBack && document.readyState === 'complete';"));
    },
    reload: () => moving(() => driver.navigate().refresh()),
    /** Visits a page in a tab of its own, and comes back. */
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
    /** Takes the network from the browser, or gives it back. */
    offline: (yes) => offline(execute, (script) => driver.executeScript(script), yes),
    /** Visits a page in so many windows, all of which are seen, and comes back without them. */
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
            /** Ends the process that draws it. */
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
    /** What the page reported since it was loaded. */
    errors: () => driver.executeScript("return window.errors;"),
    async quit() {
      await driver.quit();
      await service.kill();
    },
  };
}

/** A script of the page, and no inline one: policies forbid those. What an act ends with is text, the same in every engine. */
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

/** A page whose main script sets `acts`; gives its path inside the project. */
export async function page(name, main, files) {
  const directory = `engines-${name}`;
  await scene(directory, { "index.html": HTML, "prelude.js": PRELUDE, "main.js": main, ...files });
  return `${directory}/index.html`;
}

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };

/** Uses the project's files served at an origin of their own, with a policy. */
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

/** Waits until something is so, and returns it. */
export async function until(so) {
  const patience = AbortSignal.timeout(PATIENCE);
  for (;;) {
    const found = await so();
    if (found) return found;
    await setTimeout(50, undefined, { signal: patience });
  }
}
