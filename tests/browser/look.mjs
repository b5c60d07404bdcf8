// Looks at pages as a browser shows them: look.mjs ORDERS, a JSON object with
//   base      where the pages are
//   paths     which pages
//   tools     the folder with node_modules
//   shots     where pictures of them go
//   arrival   {from, to}: a photo that is put into the inbox while the overview is open, and its name
// Prints one line for each thing that is wrong, and last "looked at N".
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";

const orders = JSON.parse(process.argv[2]);
const require = createRequire(path.join(orders.tools, "package.json"));
const { chromium } = require("playwright-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({
  executablePath: orders.chromium,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
  ],
});
let looked = 0;

const watched = async (context, where) => {
  const page = await context.newPage();
  page.wrong = (what) => console.log(`${where}: ${what}`);
  page.on("console", (message) => message.type() === "error" && page.wrong(`console: ${message.text()}`));
  page.on("pageerror", (error) => page.wrong(`script: ${error}`));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(orders.base) && !url.startsWith("data:")) page.wrong(`asks elsewhere: ${url}`);
  });
  return page;
};

const look = async (where, width, colorScheme, javaScriptEnabled) => {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme, javaScriptEnabled });
  const name = `${where} at ${width} px, ${colorScheme}${javaScriptEnabled ? "" : ", without script"}`;
  const page = await watched(context, name);
  const answer = await page.goto(orders.base + where);
  if (!answer.ok()) page.wrong(`status ${answer.status()}`);
  const body = (await answer.body()).length;
  if (body > 60 * 1024) page.wrong(`${body} bytes`);
  const file = `${where.replace(/[^a-z0-9]+/gi, "_")}-${width}-${colorScheme}${javaScriptEnabled ? "" : "-plain"}.png`;
  await page.screenshot({ path: path.join(orders.shots, file), fullPage: true });
  if (!javaScriptEnabled) {
    if (where !== "/sign-in" && !(await page.content()).includes('http-equiv="refresh"')) page.wrong("is not renewed without script");
    if ((await page.locator("h1").count()) !== 1) page.wrong("has no heading");
  } else {
    const tooWide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (tooWide > 0) page.wrong(`${tooWide} px wider than the screen`);
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run());
    if (found.passes.length < 5) page.wrong("axe saw nothing");
    for (const fault of found.violations) {
      page.wrong(`${fault.impact}: ${fault.help}: ${fault.nodes[0].html.slice(0, 200)}`);
    }
  }
  looked += 1;
  await context.close();
};

// Photos that arrive are seen without a reload; scroll and focus stay.
const arrive = async () => {
  const context = await browser.newContext({ viewport: { width: 360, height: 600 } });
  await context.addCookies([{ name: "refresh", value: "5", url: orders.base }]);
  const page = await watched(context, "a photo arrives");
  await page.goto(orders.base + "/");
  await page.evaluate(() => {
    window.isSamePage = true;
    const link = [...document.querySelectorAll("#live a")].at(-1);
    link.focus({ preventScroll: true });
    window.focused = link.getAttribute("href");
    scrollTo(0, 400);
  });
  fs.renameSync(orders.arrival.from, orders.arrival.to);
  const name = path.basename(orders.arrival.to);
  await page.locator("#newest", { hasText: name }).waitFor({ timeout: 60000 });
  const kept = await page.evaluate(() => [window.isSamePage, scrollY, document.activeElement.closest("#live") !== null]);
  if (kept[0] !== true) page.wrong("the page was loaded anew");
  if (kept[1] !== 400) page.wrong(`scrolled to ${kept[1]}`);
  if (kept[2] !== true) page.wrong("the focus is lost");
  looked += 1;
  await context.close();
};

for (const where of orders.paths) {
  for (const width of [360, 1280]) {
    for (const scheme of ["light", "dark"]) await look(where, width, scheme, true);
    await look(where, width, "light", false);
  }
}
await arrive();
await browser.close();
console.log(`looked at ${looked}`);
